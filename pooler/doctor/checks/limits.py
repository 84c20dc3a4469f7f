"""Limits, and how near they are: clients, waiting ones, descriptors, pools against PostgreSQL's connections."""

from __future__ import annotations

from collections.abc import Iterator

from ... import capacity
from ...agent.consoles import CONSOLE
from ..facts import Facts, Instance
from ..finding import Finding, failed, ok, unknown, warning

CLIENTS = "clients"
WAITING = "waiting"
NOFILE = "nofile"
POOLS = "pools"

NEAR = 0.8
"""Of a limit."""

LONG = 1.0
"""Seconds for which a client waits for a server that are worth a word."""

_SEEN = "see the checks of reachability"


def clients(facts: Facts) -> Iterator[Finding]:
    for console, instance in facts.instances.items():
        most, now = instance.config("max_client_conn"), instance.counted("used_clients")
        if not most.isdecimal() or not int(most):
            yield unknown(CLIENTS, facts.named(console), "has not told its limit", _SEEN)
        elif now >= NEAR * int(most):
            said = f"{now} clients of max_client_conn {most}"
            yield warning(
                CLIENTS, facts.named(console), said, "more instances or a larger max_client_conn: pooler size"
            )
        else:
            yield ok(CLIENTS, facts.named(console), f"{now} clients of max_client_conn {most}")


def waiting(facts: Facts) -> Iterator[Finding]:
    for console, instance in facts.instances.items():
        place = facts.named(console)
        if "POOLS" not in instance.shows:
            yield unknown(WAITING, place, "has not told its pools", _SEEN)
            continue
        late = [
            (f"{row['database']}/{row['user']}", int(row["cl_waiting"]), int(row["maxwait"]))
            for row in instance.shows["POOLS"]
            if int(row["maxwait"]) + int(row["maxwait_us"]) / 1e6 >= LONG
        ]
        if late:
            said = "; ".join(f"{count} clients of {pool} wait, the first for {wait} s" for pool, count, wait in late)
            yield warning(
                WAITING,
                place,
                said,
                "is it paused, is a server held (pooler top), or is the pool too small (pooler size)?",
            )
        else:
            yield ok(WAITING, place, "nobody waits for a server for a second")


def nofile(facts: Facts) -> Iterator[Finding]:
    """A client may hold a server connection: each needs two descriptors, and the engine some of its own."""
    limit = facts.config.nofile
    if not limit:
        yield unknown(NOFILE, facts.host, "the limit of the instances is not known", "run the site playbook")
        return
    for console, instance in facts.instances.items():
        most = instance.config("max_client_conn")
        needs = _server_connections(instance)
        if not most.isdecimal() or needs is None:
            yield unknown(NOFILE, facts.named(console), "has not told its limits", _SEEN)
            continue
        wanted = int(most) + int(min(needs, int(most))) + _OWN
        said = f"{limit} descriptors by its unit; {wanted} for max_client_conn {most} and their servers"
        if wanted > limit:
            yield failed(
                NOFILE, facts.named(console), said, "a larger pgbouncer_nofile, or leave it out: it is counted then"
            )
        else:
            yield ok(NOFILE, facts.named(console), said)


_OWN = 64
"""Listeners, logs, DNS, and the like."""


def pools(facts: Facts) -> Iterator[Finding]:
    """What the pools that there are may grow to, on this host."""
    room = next((each.room for each in facts.servers.values() if each.writable), None)
    needs = most_connections(facts)
    if room is None or needs is None:
        yield unknown(POOLS, facts.host, "limits of the pools or of PostgreSQL are not known", _SEEN)
    elif needs == float("inf"):
        yield warning(POOLS, facts.host, "a pool has no limit", "give its database pool_size or max_db_connections")
    elif needs > room:
        said = f"pools may grow to {needs:.0f} connections, and PostgreSQL has {room} for ordinary roles"
        yield failed(POOLS, facts.host, said, "smaller pools, or a larger max_connections: pooler size")
    else:
        yield ok(POOLS, facts.host, f"pools may grow to {needs:.0f} connections of {room}")


def most_connections(facts: Facts) -> float | None:
    """Server connections of all instances at the leader; infinite when a pool is, None when it is not known."""
    found = [_server_connections(instance) for instance in facts.instances.values()]
    return None if None in found else sum(each for each in found if each is not None)


def _server_connections(instance: Instance) -> float | None:
    if "POOLS" not in instance.shows or "DATABASES" not in instance.shows:
        return None
    most = 0.0
    for row in instance.shows["DATABASES"]:
        pairs = sum(pool["database"] == row["name"] for pool in instance.shows["POOLS"])
        if row["name"] == CONSOLE or not pairs:
            continue
        reserve = int(row.get("reserve_pool_size", row.get("reserve_pool", "0")))
        bound = capacity.Pool(row["name"], pairs, int(row["pool_size"]), reserve, int(row["max_connections"])).most
        most += float("inf") if bound is None else bound
    return most
