"""What transaction pooling cannot give: clients that use features of a session, as far as that can be seen.

An advisory lock that outlives its transaction can be seen, and a server that is held. Nobody can see SET, LISTEN,
temporary tables of other databases, and PREPARE in SQL.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from ..facts import Facts, Instance
from ..finding import Finding, ok, unknown, warning

CHECK = "session features"

HELD = 60.0
"""Seconds without a new query for which a client has a server that are worth a word."""

_SEEN = "see the checks of reachability"


def held(facts: Facts) -> Iterator[Finding]:
    for console, instance in facts.instances.items():
        place = facts.named(console)
        if "SERVERS" not in instance.shows or "POOLS" not in instance.shows:
            yield unknown(CHECK, place, "has not told its servers", _SEEN)
            continue
        long = {
            f"{row['database']}/{row['user']}": facts.now - _epoch(row["request_time"])
            for row in _in_transactions(instance)
            if row["state"] == "active" and facts.now - _epoch(row["request_time"]) > HELD
        }
        if long:
            said = "; ".join(f"{pool} has held a server for {seconds:.0f} s" for pool, seconds in long.items())
            remedy = "idle_transaction_timeout, or query_timeout; pool_mode session for who needs a session"
            yield warning(CHECK, place, said, remedy)
        else:
            yield ok(CHECK, place, "no client holds a server for a minute in transaction pooling")


def locks(facts: Facts) -> Iterator[Finding]:
    """Of a server connection that is pooled by transaction: its next client has the lock, and its owner has not."""
    for console, instance in facts.instances.items():
        holders = {pid: count for each in facts.servers.values() for pid, count in each.locks.items()}
        pinned = [
            f"{row['database']}/{row['user']} ({holders[int(row['remote_pid'])]})"
            for row in _in_transactions(instance)
            if row.get("remote_pid", "").isdecimal() and int(row["remote_pid"]) in holders
        ]
        if pinned:
            said = f"advisory locks are held beyond a transaction: {', '.join(pinned)}"
            remedy = "pg_advisory_xact_lock, or pool_mode session for that database"
            yield warning(CHECK, facts.named(console), said, remedy)
        elif "SERVERS" in instance.shows:
            yield ok(CHECK, facts.named(console), "no advisory lock is held beyond a transaction")


def prepared(facts: Facts) -> Iterator[Finding]:
    for console, instance in facts.instances.items():
        by_transaction = any(row.get("pool_mode") == "transaction" for row in instance.shows.get("POOLS", ()))
        if by_transaction and instance.config("max_prepared_statements") == "0":
            said = "prepared statements of drivers fail in transaction pooling: max_prepared_statements is 0"
            yield warning(CHECK, facts.named(console), said, "pgbouncer_settings: max_prepared_statements: 200")
        elif most := instance.config("max_prepared_statements"):
            yield ok(CHECK, facts.named(console), f"drivers may prepare statements (max_prepared_statements {most})")


def _in_transactions(instance: Instance) -> Iterator[dict[str, str]]:
    modes = {(row["database"], row["user"]): row["pool_mode"] for row in instance.shows.get("POOLS", ())}
    for row in instance.shows.get("SERVERS", ()):
        if modes.get((row["database"], row["user"])) == "transaction":
            yield dict(row)


def _epoch(text: str) -> float:
    return datetime.strptime(text, "%Y-%m-%d %H:%M:%S UTC").replace(tzinfo=UTC).timestamp()
