"""Every check of a host. Each is a pure function of the facts and gives at least one finding."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from ..facts import Facts
from ..finding import Finding
from . import certificates, engine, get_auth, leader, limits, logins, peers, reachability, sessions, system

ALL: tuple[Callable[[Facts], Iterator[Finding]], ...] = (
    reachability.agent,
    reachability.consoles,
    reachability.cluster,
    certificates.shown,
    certificates.expiry,
    logins.scram,
    logins.startup_parameters,
    get_auth.properties,
    leader.agreement,
    leader.pointing,
    peers.configured,
    peers.cancel,
    limits.clients,
    limits.waiting,
    limits.nofile,
    limits.pools,
    system.sysctls,
    system.clock,
    engine.vulnerabilities,
    engine.configuration,
    sessions.held,
    sessions.locks,
    sessions.prepared,
)


def examine(facts: Facts) -> list[Finding]:
    """What all of them say, in this order."""
    return [finding for check in ALL for finding in check(facts)]
