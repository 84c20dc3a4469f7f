"""What is seen of an instance and of a host, and how it is written as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace

from ..errors import PoolerError

OWN = "pgbouncer"
"""Databases with this beginning are the console's, the agent's and auth_query's; clients use the others."""


@dataclass(frozen=True)
class Counters:
    """Of all databases of clients since the instance was started, `at` a time on time.monotonic. Times in seconds."""

    at: float
    transactions: int = 0
    queries: int = 0
    transaction_seconds: float = 0.0
    query_seconds: float = 0.0
    wait_seconds: float = 0.0


@dataclass(frozen=True)
class Instance:
    """`error` is why nothing else is known. `longest`: seconds for which the first waiting client has waited.

    `active` servers have a client. The rates are per second, the times the mean in milliseconds, both since it was seen
    before. `leader` is where its databases point, `paused` whether clients are made to wait.
    """

    name: str
    error: str = ""
    clients: int = 0
    waiting: int = 0
    longest: float = 0.0
    active: int = 0
    idle: int = 0
    tps: float = 0.0
    qps: float = 0.0
    transaction_ms: float = 0.0
    query_ms: float = 0.0
    wait_ms: float = 0.0
    leader: str = ""
    paused: bool = False


@dataclass(frozen=True)
class Host:
    """`error` is why nothing else is known. `reason` is the agent's, when it is not `ready`."""

    name: str
    error: str = ""
    leader: str = ""
    ready: bool = False
    reason: str = ""
    instances: tuple[Instance, ...] = ()

    def to_json(self) -> str:
        """One line."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str | bytes) -> Host:
        """Raises PoolerError for what is none."""
        try:
            given = json.loads(text)
            return cls(**{**given, "instances": tuple(Instance(**each) for each in given["instances"])})
        except (ValueError, TypeError, KeyError):
            raise PoolerError("its answer is not understood: is another version of pooler there?") from None


def rated(instance: Instance, before: Counters, now: Counters) -> Instance:
    """With the fields that take two looks; of one that was restarted meanwhile, since its start."""
    seconds = now.at - before.at
    if seconds <= 0:
        return instance
    if now.transactions < before.transactions or now.queries < before.queries:
        before = Counters(before.at)
    transactions, queries = now.transactions - before.transactions, now.queries - before.queries
    return replace(
        instance,
        tps=transactions / seconds,
        qps=queries / seconds,
        transaction_ms=_mean(now.transaction_seconds - before.transaction_seconds, transactions),
        query_ms=_mean(now.query_seconds - before.query_seconds, queries),
        wait_ms=_mean(now.wait_seconds - before.wait_seconds, transactions),
    )


def _mean(seconds: float, count: int) -> float:
    return max(0.0, seconds) * 1000 / count if count else 0.0


def of_console(name: str, at: float, shows: Mapping[str, list[dict[str, str]]]) -> tuple[Instance, Counters]:
    """From the answers to `SHOWS`, rows by the names of columns. Raises PoolerError when they are garbled."""
    try:
        pools = [row for row in shows["POOLS"] if not row["database"].startswith(OWN)]
        stats = [row for row in shows["STATS_TOTALS"] if not row["database"].startswith(OWN)]
        databases = [row for row in shows["DATABASES"] if not row["name"].startswith(OWN)]
        where = sorted(f"{row['host']}:{row['port']}" for row in databases if row["host"])

        def total(rows: list[dict[str, str]], *columns: str) -> int:
            return sum(int(row[column]) for row in rows for column in columns)

        instance = Instance(
            name,
            clients=total(pools, "cl_active", "cl_waiting"),
            waiting=total(pools, "cl_waiting"),
            longest=max((int(row["maxwait"]) + int(row["maxwait_us"]) / 1e6 for row in pools), default=0.0),
            active=total(pools, "sv_active"),
            idle=total(pools, "sv_idle", "sv_used"),
            leader=max(where, key=where.count, default=""),
            paused=any(row["key"] == "paused" and row["value"] == "yes" for row in shows["STATE"])
            or any(row["paused"] == "1" for row in databases),
        )
        counters = Counters(
            at,
            total(stats, "xact_count"),
            total(stats, "query_count"),
            total(stats, "xact_time") / 1e6,
            total(stats, "query_time") / 1e6,
            total(stats, "wait_time") / 1e6,
        )
    except (KeyError, ValueError) as error:
        raise PoolerError(f"its answer is not understood ({error})") from None
    return instance, counters


SHOWS = ("STATE", "DATABASES", "STATS_TOTALS", "POOLS")
