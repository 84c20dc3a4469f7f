"""Who leads: by Patroni, by the servers themselves, by the agent, and by where the instances point."""

from __future__ import annotations

from collections.abc import Iterator

from ...patroni import Cluster
from ..facts import Facts
from ..finding import Finding, failed, ok, unknown, warning

CHECK = "leader"


def agreement(facts: Facts) -> Iterator[Finding]:
    if not facts.config.targets:
        yield ok(CHECK, facts.host, "the server is fixed; nobody is followed")
        return
    writable = [str(server) for server, each in facts.servers.items() if each.writable]
    if len(writable) > 1:
        said = f"{' and '.join(writable)} take writes, both"
        yield failed(CHECK, facts.host, said, "fence the one with the lower timeline at once: patronictl list")
        return
    if not writable:
        yield failed(CHECK, facts.host, "no server takes writes", "patronictl list; the agent keeps clients waiting")
        return
    (sql,) = writable
    by_patroni = {url: _named(view) for url, view in facts.patroni.items() if isinstance(view, Cluster)}
    for url, named in by_patroni.items():
        if named != sql:
            said = f"Patroni names {named or 'nobody'}, and by SQL {sql} takes writes"
            yield warning(
                CHECK, url, said, "for a moment that is so in each switchover; else ask patronictl list there"
            )
    if not by_patroni:
        yield unknown(CHECK, facts.host, "no Patroni has said who leads", "see the checks of reachability")
    agent = (facts.status or {}).get("leader")
    if facts.status is not None and agent != sql:
        said = f"the agent follows {agent or 'nobody'}, and by SQL {sql} takes writes"
        yield failed(CHECK, facts.host, said, "journalctl -u pgbouncer-agent")
    elif facts.status is not None and all(named == sql for named in by_patroni.values()) and by_patroni:
        yield ok(CHECK, facts.host, f"{sql}: by Patroni ({len(by_patroni)} asked), by SQL, by the agent")


def pointing(facts: Facts) -> Iterator[Finding]:
    """Every database that follows the leader has to lead there."""
    followed = {name for name, target in facts.config.targets.items() if target == "leader"}
    writable = {str(server) for server, each in facts.servers.items() if each.writable}
    for console, instance in facts.instances.items():
        if not followed or "DATABASES" not in instance.shows:
            continue
        rows = [row for row in instance.shows["DATABASES"] if row["name"] in followed]
        astray = {row["name"]: f"{row['host']}:{row['port']}" for row in rows}
        astray = {name: there for name, there in astray.items() if there not in writable}
        if astray:
            said = "; ".join(f"{name} leads to {there}" for name, there in astray.items())
            said += f", and {' and '.join(sorted(writable)) or 'nobody'} takes writes"
            yield failed(
                CHECK,
                facts.named(console),
                said,
                "the agent puts that right within seconds: journalctl -u pgbouncer-agent",
            )
        else:
            yield ok(CHECK, facts.named(console), f"{len(rows)} databases lead to the leader")


def _named(cluster: Cluster) -> str:
    return next((str(member.server) for member in cluster.members if member.leads), "")
