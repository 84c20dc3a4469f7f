"""Which replicas serve the databases for them: pure functions of what was known and what is seen."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from ..patroni import Member
from ..server import Server

JOIN_SECONDS = 3.0
"""A replica serves after it has been fit for so long, and stops at once: one that wavers does not come and go."""

_STATES = ("running", "streaming")


@dataclass(frozen=True)
class Serving:
    """`servers` serve now, sorted; `fit_since` says since when each that is fit has been so."""

    servers: tuple[Server, ...] = ()
    fit_since: Mapping[Server, float] = field(default_factory=dict)


def fit(members: Iterable[Member], max_lag: int) -> frozenset[Server]:
    """Who may serve by what Patroni says: a running replica, known to lag by no more bytes, without `noloadbalance`."""
    return frozenset(
        member.server
        for member in members
        if member.host
        and not member.leads
        and member.role != "standby_leader"
        and member.state in _STATES
        and member.lag is not None
        and member.lag <= max_lag
        and not member.tags.get("noloadbalance")
    )


def serving(
    before: Serving, by_patroni: frozenset[Server] | None, in_recovery: Iterable[Server], now: float
) -> Serving:
    """The next state. `by_patroni` is None while Patroni is silent: nobody joins, SQL alone says who stays.

    `in_recovery` are those who say so by SQL. Where nobody serves, the first who is fit does not have to wait.
    """
    alive = frozenset(in_recovery)
    able = alive & (frozenset(before.servers) if by_patroni is None else by_patroni)
    since = {server: before.fit_since.get(server, now) for server in able}
    stay = able & frozenset(before.servers)
    join = {server for server, begun in since.items() if not stay or now - begun >= JOIN_SECONDS}
    return Serving(_one_port(stay | join), since)


def host_list(
    servers: Iterable[Server], leader: Server | None, *, fallback: bool, one_for: str | None = None
) -> Server | None:
    """Where databases for replicas are to point: `a,b` in the engine's form, the leader, or None: nowhere else.

    With `one_for`, a host's name, to one of them: each host always takes the same, others take others, and one that
    goes or comes changes nothing for those who do not take it.
    """
    chosen = tuple(servers)
    if one_for is not None:
        chosen = tuple(sorted(chosen, key=lambda server: _weight(one_for, server))[-1:])
    if not chosen:
        return leader if fallback else None
    return Server(",".join(server.host for server in chosen), chosen[0].port)


def _weight(name: str, server: Server) -> bytes:
    return hashlib.sha256(f"{name} {server.host} {server.port}".encode()).digest()


def _one_port(servers: Iterable[Server]) -> tuple[Server, ...]:
    """The engine takes one port for a list of hosts: those with the port that most have."""
    ports = Counter(server.port for server in servers)
    if not ports:
        return ()
    port = max(ports, key=lambda each: (ports[each], -each))
    return tuple(sorted((server for server in servers if server.port == port), key=lambda server: server.host))
