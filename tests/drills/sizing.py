"""Waiting for a server connection: what `pooler size` predicts, and what PgBouncer counts under such a load.

And the clients that PostgreSQL has no room for: how many it refuses, and that the pool serves them all.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import asyncpg

from pooler import waiting
from tests.engine.crowd import CLIENTS, MAX_CONNECTIONS, crowd
from tests.engine.sized import CONSOLE, ROLE, Sized, sized

from .figures import Figure

WITHIN = 20
"""Per cent that a prediction may be wrong by."""

SECONDS = 30.0
SHORT_SECONDS = 2.0
_SETTLING = 0.2
"""Share of the time at first that does not count."""


@dataclass(frozen=True)
class Workload:
    """Clients of one pool of `servers`; `held` and `between` are mean times in seconds, exponentially distributed."""

    what: str
    clients: int
    servers: int
    held: float
    between: float


WORKLOADS = (
    Workload("many short transactions", 60, 6, 0.040, 0.400),
    Workload("some long transactions", 24, 8, 0.150, 0.350),
    Workload("a full pool", 40, 8, 0.060, 0.100),
    Workload("no pauses", 30, 10, 0.080, 0.0),
)

CROWD = "576 clients"


def run(short: bool, runs: int = 1, events: Sequence[str] = ()) -> list[Figure]:
    """Each workload of `events` and the crowd, or all of them.

    The short form has one workload and cannot miss: a busy machine would.
    """
    figures: list[Figure] = []
    if not short and (not events or CROWD in events):
        figures += _crowd()
    with sized(100) as fleet:
        for workload in WORKLOADS[:1] if short else WORKLOADS:
            if events and workload.what not in events:
                continue
            for _ in range(runs):
                figures += _compared(fleet, workload, SHORT_SECONDS if short else SECONDS, judged=not short)
    return figures


def _crowd() -> list[Figure]:
    found = crowd()
    refused = CLIENTS - MAX_CONNECTIONS
    return [
        Figure(f"{CROWD}: refused by PostgreSQL", found.refused, f"of {CLIENTS}", least=refused),
        Figure(f"{CROWD}: failed through the pool", found.failed, f"of {CLIENTS}", 0),
        Figure(f"{CROWD}: server connections at the most", found.most, "", found.servers),
    ]


def _compared(fleet: Sized, workload: Workload, seconds: float, *, judged: bool) -> list[Figure]:
    fleet.serves({"default_pool_size": workload.servers, "min_pool_size": workload.servers}, instances=1)
    held, measured, between = asyncio.run(_measured(fleet, workload, seconds))
    # A transaction holds its connection for as long as PostgreSQL and the way there and back take in truth, and a
    # client pauses for as long as it neither waits nor is served.
    expected = waiting.predicted(workload.clients, workload.servers, held, between).seconds
    off = abs(expected - measured) / measured * 100
    return [
        Figure(f"{workload.what}: held", held * 1000, "ms"),
        Figure(f"{workload.what}: waited, predicted", expected * 1000, "ms"),
        Figure(f"{workload.what}: waited, measured", measured * 1000, "ms"),
        Figure(f"{workload.what}: off by", off, "%", WITHIN if judged else None),
    ]


async def _measured(fleet: Sized, workload: Workload, seconds: float) -> tuple[float, float, float]:
    """Mean seconds that a transaction held its connection, that it waited for one, and that a client then paused.

    The first two are as the engine counts.
    """
    place: Path = fleet.pools[CONSOLE]
    clients = await asyncio.gather(
        *(asyncpg.connect(host=str(place), port=6432, user=ROLE, database="app") for _ in range(workload.clients))
    )
    ends = time.monotonic() + seconds

    async def work(client: asyncpg.Connection) -> None:
        while time.monotonic() < ends:
            if workload.between:
                await asyncio.sleep(random.expovariate(1 / workload.between))
            await client.fetchval("SELECT pg_sleep($1)", random.expovariate(1 / workload.held))

    working = asyncio.gather(*(work(client) for client in clients))
    await asyncio.sleep(seconds * _SETTLING)
    began, before = time.monotonic(), await asyncio.to_thread(fleet.counted)
    await asyncio.sleep(ends - time.monotonic())
    lasted, after = time.monotonic() - began, await asyncio.to_thread(fleet.counted)
    await working
    await asyncio.gather(*(client.close() for client in clients))
    transactions = after.transactions - before.transactions
    held, waited = (after.held - before.held) / transactions, (after.waited - before.waited) / transactions
    return held, waited, workload.clients * lasted / transactions - held - waited
