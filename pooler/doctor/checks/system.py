"""The host's kernel and clock."""

from __future__ import annotations

from collections.abc import Iterator

from ..facts import Facts
from ..finding import Finding, failed, ok, unknown, warning
from .limits import most_connections

SYSCTLS = "sysctls"
CLOCK = "clock"

BACKLOG = 4096
"""Connections that the socket units ask the kernel to keep for an instance that is busy."""

AHEAD, FAR = 1.0, 30.0
"""Seconds between two clocks: worth a word; and too much for certificates of a moment, logs and leases."""


def sysctls(facts: Facts) -> Iterator[Finding]:
    for name, value in facts.sysctls.items():
        place = f"{facts.host} {name}"
        if value is None:
            # Not every kernel has it, and a container sees only those of its network.
            yield ok(SYSCTLS, place, "is not to be seen here")
        elif why := _wrong(facts, name, value):
            yield warning(SYSCTLS, place, f"{value}: {why}", f"/etc/sysctl.d, then sysctl --system; {_SITE}")
        else:
            yield ok(SYSCTLS, place, value.replace("\t", " to "))


_SITE = "the site playbook sets tcp_migrate_req"


def _wrong(facts: Facts, name: str, value: str) -> str:
    numbers = [int(word) for word in value.split() if word.isdecimal()]
    match name:
        case "net.ipv4.tcp_migrate_req" if numbers != [1]:
            return "connections that wait at an instance which is restarted are reset"
        case "net.core.somaxconn" if numbers and numbers[0] < BACKLOG:
            return f"a storm of connections is cut off before the {BACKLOG} that the sockets ask for"
        case "net.ipv4.ip_local_port_range" if len(numbers) == 2:
            ports, needs = numbers[1] - numbers[0] + 1, most_connections(facts)
            if needs is not None and needs != float("inf") and needs > ports:
                return f"{ports} ports for {needs:.0f} connections to one server"
        case "fs.nr_open" if numbers and facts.config.nofile > numbers[0]:
            return f"an instance cannot have its {facts.config.nofile} descriptors"
    return ""


def clock(facts: Facts) -> Iterator[Finding]:
    answered = {server: each for server, each in facts.servers.items() if not each.error}
    if not answered:
        yield unknown(CLOCK, facts.host, "no server has told its time", "see the checks of reachability")
    for server, each in answered.items():
        off = max(0.0, abs(each.ahead) - each.within)
        said = f"{server} is {abs(each.ahead):.3f} s {'ahead' if each.ahead > 0 else 'behind'} (+/- {each.within:.3f})"
        bad = failed if off >= FAR else warning
        if off >= AHEAD:
            yield bad(CLOCK, facts.host, said, "chronyc tracking, on both hosts")
        else:
            yield ok(CLOCK, facts.host, said)
