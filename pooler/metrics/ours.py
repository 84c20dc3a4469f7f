"""The metrics that only the agent has: what it knows of the leader and of its host, and what consoles tell besides."""

from __future__ import annotations

import math
import operator
import socket
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from .. import settings
from ..agent.consoles import CONSOLE
from ..agent.counts import Cause, Counts
from ..agent.decide import Reason
from ..agent.health import Picture, ready
from ..agent.instances import Instance
from ..agent.logins import REASONS as REFUSALS
from ..agent.logins import Reason as Refusal
from ..agent.records import explained
from ..agent.rest import OLD
from ..agent.wire import Table
from ..errors import InvalidError, PoolerError
from ..patroni import Member
from .expiry import Expiry
from .exporter import INSTANCE
from .families import Family, Sample

_REASONS: tuple[Reason, ...] = ("loss", "switchover")
_CAUSES: tuple[Cause, ...] = ("following", "order")


def _gauge(name: str, text: str, *labels: str) -> Family:
    return Family(f"pgfleet_{name}", "gauge", text, labels)


def _counter(name: str, text: str, *labels: str) -> Family:
    return Family(f"pgfleet_{name}_total", "counter", text, labels)


READY = _gauge("ready", "Whether a new client of this host is served: what /ready and /ready/replica say.", "target")
DRAINING = _gauge("draining", "Whether the host is being taken out.")
FOLLOWS = _gauge("follows", "Whether the agent follows a leader; 0 where the server is fixed.")
LEADER = _gauge("leader_info", "The server that databases point at.", "leader")
LEADER_KNOWN = _gauge("leader_known", "Whether a leader is known and has not been lost.")
LEADER_SINCE = _gauge("leader_since_timestamp_seconds", "Since when it leads; at most since the agent was started.")
LEADER_TIMELINE = _gauge("leader_timeline", "Its timeline, which every promotion raises.")
LEADER_CHANGES = _counter("leader_changes", "Other leaders: by order (a switchover), or by following.", "cause")
LEADER_CONNECTIONS = _gauge("leader_max_connections", "Connections that the leader lets ordinary roles have.")
SERVER_UP = _gauge("server_up", "Whether a server of the cluster has answered the last question by SQL.", "server")
SERVER_WRITABLE = _gauge("server_writable", "Whether it has said that it takes writes.", "server")
PATRONI_UP = _gauge("patroni_up", "Whether a member's Patroni has answered within the last seconds.", "url")
REPLICA_LAG = _gauge("replica_lag_bytes", "How far a replica is behind, by Patroni.", "server")
REPLICA_SERVES = _gauge("replica_serves", "Whether databases for replicas may point at a server.", "server")
PAUSES = _counter("pauses", "Pauses that the agent has made.", "reason")
PAUSED_SECONDS = _counter("paused_seconds", "Time for which the agent has made clients wait.", "reason")
CERTIFICATE = _gauge(
    "certificate_expiry_timestamp_seconds", "Until when a certificate on disk is valid.", "file", "serial"
)
SERVER_CERTIFICATE = _gauge(
    "server_certificate_expiry_timestamp_seconds",
    "Until when a certificate is valid that PostgreSQL or Patroni shows.",
    "server",
    "serial",
)
AGENT = _gauge("agent_info", "The agent's version.", "version")

INSTANCE_READY = _gauge(
    "instance_ready", "Whether the pool of an instance reaches a server that takes writes.", INSTANCE
)
READ_ONLY = _gauge("instance_read_only", "Whether it reaches a server that takes no writes.", INSTANCE)
PAUSED = _gauge("instance_paused", "Whether anything is paused on an instance, by whom.", INSTANCE, "by")
OUTDATED = _gauge("instance_outdated", "Whether an instance runs another configuration than its files.", INSTANCE)
RELOADS = _counter("reloads", "RELOADs by the agent.", INSTANCE)
FAILED_RELOADS = _counter("failed_reloads", "RELOADs by the agent that an instance has refused.", INSTANCE)
FAILED_LOGINS = _counter("instance_failed_logins", "Logins that an instance has refused.", INSTANCE, "reason")
VULNERABLE = _gauge(
    "instance_vulnerability", "A hole in the engine of an instance that is not closed.", INSTANCE, "cve"
)
PEERS = _gauge("instance_peers", "Instances to which it passes cancel requests.", INSTANCE)
LONGEST_WAIT = _gauge(
    "instance_longest_wait_seconds", "For how long the client has waited that waits longest.", INSTANCE
)
HELD = _gauge(
    "database_held_seconds",
    "In transaction pooling, for how long a client has had a server without a new query.",
    INSTANCE,
    "database",
)
PREPARED = _gauge("instance_prepared_statements", "Prepared statements, by whom they are held.", INSTANCE, "side")
CONNECTIONS = _gauge("instance_server_connections", "Server connections.", INSTANCE)
MOST_CONNECTIONS = _gauge(
    "instance_server_connections_limit", "Server connections that the pools of an instance may have in all.", INSTANCE
)
DESCRIPTORS = _gauge("instance_descriptors", "Descriptors of clients and servers.", INSTANCE)
MOST_DESCRIPTORS = _gauge("instance_descriptors_limit", "Descriptors that an instance may have.", INSTANCE)

MISSING = _gauge("scrape_missing", "What this scrape lacks, and why.", INSTANCE, "what", "why")
SECONDS = _gauge("scrape_seconds", "How long it has taken to ask the instances.")

FAMILIES = tuple(each for each in list(globals().values()) if isinstance(each, Family))


@dataclass(frozen=True)
class Host:
    """What is known of a host besides its consoles. `most_connections` is what the leader's own settings allow.

    `expiries` by file, `shown` by HOST:PORT of PostgreSQL and Patroni; `package` is the engine's in the image;
    `descriptors` an instance's limit, 0 when not known. `missing` says why something is not there, `asked_seconds` how
    long it has taken to ask the instances. `refused`: logins, by console and reason; None where nobody tells of them.
    """

    picture: Picture
    counts: Counts
    version: str
    expiries: Mapping[str, list[Expiry]] = field(default_factory=dict)
    shown: Mapping[str, Expiry] = field(default_factory=dict)
    most_connections: int | None = None
    package: str = ""
    descriptors: int = 0
    missing: Mapping[str, str] = field(default_factory=dict)
    asked_seconds: float = 0.0
    refused: Mapping[tuple[int, Refusal], int] | None = None


def named(console: int) -> str:
    """The label `instance`: unique in a fleet."""
    return f"{socket.gethostname()}:{console}"


def of_host(host: Host) -> Iterator[Sample]:
    picture, counts = host.picture, host.counts
    yield Sample(AGENT, (host.version,), 1)
    yield Sample(SECONDS, (), host.asked_seconds)
    yield Sample(READY, ("leader",), ready(picture)["ready"])
    if any(instance.replica_pool for instance in picture.instances.values()):
        yield Sample(READY, ("replica",), ready(picture, replica=True)["ready"])
    yield Sample(DRAINING, (), picture.draining)
    yield Sample(FOLLOWS, (), picture.follows)
    if picture.follows:
        yield from _of_cluster(picture)
        yield Sample(LEADER_SINCE, (), counts.leader_since)
        for cause in _CAUSES:
            yield Sample(LEADER_CHANGES, (cause,), counts.leader_changes[cause])
        for reason in _REASONS:
            yield Sample(PAUSES, (reason,), counts.pauses[reason])
            yield Sample(PAUSED_SECONDS, (reason,), counts.paused_seconds(reason))
    for file, found in host.expiries.items():
        for expiry in found:
            yield Sample(CERTIFICATE, (file, expiry.serial), expiry.at)
    for server, expiry in host.shown.items():
        yield Sample(SERVER_CERTIFICATE, (server, expiry.serial), expiry.at)
    if host.most_connections is not None:
        yield Sample(LEADER_CONNECTIONS, (), host.most_connections)
    for console, instance in picture.instances.items():
        yield from _of_instance(host, console, instance)


def _of_cluster(picture: Picture) -> Iterator[Sample]:
    leader = picture.state.leader
    yield Sample(LEADER_KNOWN, (), leader is not None and picture.state.lost is None)
    if leader is not None:
        yield Sample(LEADER, (str(leader),), 1)
    for server, answer in picture.answers.items():
        yield Sample(SERVER_UP, (str(server),), answer.word is not None)
        if answer.word is not None:
            yield Sample(SERVER_WRITABLE, (str(server),), answer.word.writable)
            if server == leader and answer.word.timeline:
                yield Sample(LEADER_TIMELINE, (), answer.word.timeline)
    for url, view in picture.views.items():
        yield Sample(PATRONI_UP, (url,), view.cluster is not None and picture.now - view.at <= OLD)
    for member in _latest(picture):
        if not member.leads and member.host and member.lag is not None:
            yield Sample(REPLICA_LAG, (str(member.server),), member.lag)
            yield Sample(REPLICA_SERVES, (str(member.server),), member.server in picture.serving.servers)


def _latest(picture: Picture) -> tuple[Member, ...]:
    """The members by the last answer that Patroni has given."""
    views = [
        (view.at, view.cluster.members)
        for view in picture.views.values()
        if view.cluster and picture.now - view.at <= OLD
    ]
    return max(views, key=operator.itemgetter(0))[1] if views else ()


def _of_instance(host: Host, console: int, instance: Instance) -> Iterator[Sample]:
    """What the agent knows of it before it asks."""
    name, picture, pool = named(console), host.picture, instance.leader_pool
    yield Sample(INSTANCE_READY, (name,), ready(picture)["instances"][str(console)]["ready"])
    if pool is not None and not pool.error and pool.fresh(picture.now):
        yield Sample(READ_ONLY, (name,), not pool.writable)
    yield Sample(RELOADS, (name,), host.counts.reloads[console])
    yield Sample(FAILED_RELOADS, (name,), host.counts.failed_reloads[console])
    if host.descriptors:
        yield Sample(MOST_DESCRIPTORS, (name,), host.descriptors)
    if host.refused is not None:
        for why in REFUSALS:
            yield Sample(FAILED_LOGINS, (name, why), host.refused.get((console, why), 0))
    if instance.facts is None:
        return
    by_hand, paused = picture.by_hand.get(console, frozenset()), instance.facts.paused
    by_operators = explained(paused, picture.operators)
    yield Sample(PAUSED, (name, "hand"), bool(by_hand))
    yield Sample(PAUSED, (name, "operator"), bool(by_operators))
    yield Sample(PAUSED, (name, "agent"), picture.state.pause is not None and bool(paused - by_hand - by_operators))


def of_version(host: Host, name: str, version: Table) -> Iterator[Sample]:
    """The holes that are open in an engine. Raises PoolerError."""
    try:
        engine = settings.parse_version(version.first()[0])
        package = host.package if host.package and settings.parse_version(host.package) == engine else None
    except InvalidError as error:
        raise PoolerError(str(error)) from None
    for cve in settings.vulnerabilities(engine, package):
        yield Sample(VULNERABLE, (name, cve), 1)


def of_lists(_host: Host, name: str, lists: Table) -> Iterator[Sample]:
    """Raises PoolerError."""
    items = {key: _whole(text) for key, text in lists.pairs("list", "items").items()}
    clients, servers = items.get("used_clients", 0) + items.get("login_clients", 0), items.get("used_servers", 0)
    yield Sample(PEERS, (name,), items.get("peers", 0))
    yield Sample(CONNECTIONS, (name,), servers)
    yield Sample(DESCRIPTORS, (name,), clients + servers)


def of_config(_host: Host, name: str, config: Table) -> Iterator[Sample]:
    """An instance reads its files by a link, and these name the directory it led to. Raises PoolerError."""
    values = config.pairs("key", "value")
    if values.get("conffile") and values.get("auth_file"):
        there = Path(values["conffile"]).parent.resolve()
        yield Sample(OUTDATED, (name,), there != Path(values["auth_file"]).parent)


def of_prepared(side: str, _host: Host, name: str, table: Table) -> Iterator[Sample]:
    """Of clients or servers. Raises PoolerError."""
    if "prepared_statements" in table.columns:
        held = sum(_whole(count) for count, _database in table.picked("prepared_statements", "database"))
        yield Sample(PREPARED, (name, side), held)


def of_held(host: Host, name: str, servers: Table, pools: Table) -> Iterator[Sample]:
    """Raises PoolerError."""
    modes = {(database, user): mode for database, user, mode in pools.picked("database", "user", "pool_mode")}
    held: dict[str, float] = {}
    for database, user, state, asked in servers.picked("database", "user", "state", "request_time"):
        if state == "active" and modes.get((database, user)) == "transaction":
            held[database] = max(held.get(database, 0.0), host.picture.epoch - _epoch(asked))
    for database, seconds in held.items():
        yield Sample(HELD, (name, database), seconds)


def of_pools(_host: Host, name: str, pools: Table, databases: Table) -> Iterator[Sample]:
    """The longest wait, and what the pools that there are may grow to. Raises PoolerError."""
    waits = [_whole(seconds) + _whole(rest) / 1e6 for seconds, rest in pools.picked("maxwait", "maxwait_us")]
    yield Sample(LONGEST_WAIT, (name,), max(waits, default=0.0))
    counted = Counter(database for database, _user in pools.picked("database", "user"))
    reserve = "reserve_pool_size" if "reserve_pool_size" in databases.columns else "reserve_pool"
    most = 0.0
    for database, size, more, limit in databases.picked("name", "pool_size", reserve, "max_connections"):
        if database != CONSOLE and counted[database]:
            # 0 stands for any number, of either.
            wanted = counted[database] * (_whole(size) + _whole(more)) if size != "0" else math.inf
            most += min(wanted, _whole(limit) or math.inf)
    yield Sample(MOST_CONNECTIONS, (name,), most)


READERS: tuple[tuple[tuple[str, ...], Callable[..., Iterator[Sample]]], ...] = (
    (("VERSION",), of_version),
    (("LISTS",), of_lists),
    (("CONFIG",), of_config),
    (("CLIENTS",), partial(of_prepared, "client")),
    (("SERVERS",), partial(of_prepared, "server")),
    (("SERVERS", "POOLS"), of_held),
    (("POOLS", "DATABASES"), of_pools),
)
"""Each with the questions whose tables it takes."""


def _whole(text: str) -> int:
    try:
        if len(text) < 20:
            return int(text)
    except ValueError:
        pass
    raise PoolerError(f"{text!r} is where a whole number should be")


def _epoch(text: str) -> float:
    """Of a time as the engine writes it; containers have no other time zone."""
    try:
        return datetime.strptime(text, "%Y-%m-%d %H:%M:%S UTC").replace(tzinfo=UTC).timestamp()
    except ValueError:
        raise PoolerError(f"{text!r} is where a time should be") from None
