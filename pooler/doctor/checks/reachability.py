"""Who answers: the agent, the consoles, Patroni and the servers."""

from __future__ import annotations

from collections.abc import Iterator

from ..facts import Facts
from ..finding import Finding, failed, ok, warning

CHECK = "reachability"


def agent(facts: Facts) -> Iterator[Finding]:
    status = facts.status
    if status is None:
        said = f"does not answer on port {facts.config.health_port}: {facts.status_error}"
        yield failed(
            CHECK, f"{facts.host} agent", said, "systemctl status pgbouncer-agent; journalctl -u pgbouncer-agent"
        )
    elif status.get("trouble"):
        yield warning(
            CHECK, f"{facts.host} agent", f"is in trouble: {status['trouble']}", "journalctl -u pgbouncer-agent"
        )
    elif not status["ready"]:
        remedy = "the reason says whom to ask: an operator, the cluster, or the instance that does not serve"
        yield failed(CHECK, f"{facts.host} agent", f"says that clients are not served: {status['reason']}", remedy)
    else:
        yield ok(CHECK, f"{facts.host} agent", "answers, and a query through the pool has reached a server for writes")


def consoles(facts: Facts) -> Iterator[Finding]:
    for console, instance in facts.instances.items():
        place = facts.named(console)
        if "CONSOLE" in instance.missing:
            remedy = f"systemctl status pgbouncer@{console}; journalctl -u pgbouncer@{console}"
            yield failed(CHECK, place, f"does not answer: {instance.missing['CONSOLE']}", remedy)
        elif instance.missing:
            what = "; ".join(f"SHOW {show}: {why}" for show, why in instance.missing.items())
            yield warning(CHECK, place, what, "ask the console itself: pooler console; a restart if it hangs")
        else:
            yield ok(CHECK, place, f"answers, with {instance.counted('used_clients')} clients")


def cluster(facts: Facts) -> Iterator[Finding]:
    """A part that is away harms nobody yet; all of it does."""
    for what, answers, remedy in (
        ("Patroni", {url: v if isinstance(v, str) else "" for url, v in facts.patroni.items()}, _PATRONI),
        ("PostgreSQL", {str(server): each.error for server, each in facts.servers.items()}, _POSTGRESQL),
    ):
        for place, error in answers.items():
            bad = warning if not all(answers.values()) else failed
            said = f"{what} does not answer: {error}"
            yield bad(CHECK, place, said, remedy) if error else ok(CHECK, place, f"{what} answers {facts.host}")


_PATRONI = "is it up there, does it let this host in, and is the client's leaf of its authority?"
_POSTGRESQL = (
    "is it up there, does pg_hba.conf let the agent's role in from this host, and is its certificate for that name?"
)
