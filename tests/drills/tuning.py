"""What habits of clients cost the engine and themselves, what connections cost in memory, and what pool sizes do.

All ways take turns in each round. The engine's processor time is its own account and not what a clock says; the rest
wants a machine that does nothing else.

    make drills ONLY=tuning [EVENTS=costs,memory,pools]
"""

from __future__ import annotations

import asyncio
import contextlib
import statistics
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import asyncpg

from tests.engine.chain import CONSOLE, Chain, Session, chain
from tests.engine.sized import CONSOLE as POOL
from tests.engine.sized import ROLE, Sized, sized

from .figures import Figure

EVENTS = ("costs", "memory", "pools")
TRANSACTIONS, SHORT_TRANSACTIONS = 1000, 10
CLIENTS, SHORT_CLIENTS = 300, 5
BACKENDS = 20
_PIPELINE = 10


def run(short: bool, runs: int = 5, events: Sequence[str] = ()) -> list[Figure]:
    """Figures are for comparison and cannot miss. The short form shows that all of it runs."""
    if unknown := {*events} - {*EVENTS}:
        raise SystemExit(f"no such events: {', '.join(sorted(unknown))} (there are {', '.join(EVENTS)})")
    chosen = events or EVENTS
    figures: list[Figure] = []
    if {"costs", "memory"} & {*chosen}:
        with chain() as tier:
            # Connections without TLS are let in, to be compared, and nobody listens to the log.
            rules = ["hostssl all all all scram-sha-256", "host all all all scram-sha-256"]
            quiet = {"log_connections": False, "log_disconnections": False, "client_tls_sslmode": "prefer"}
            tier.serves(databases=[{"name": "app", "dbname": "postgres"}], hba=rules, settings=quiet)
            if "costs" in chosen:
                figures += _costs(tier, 1 if short else runs, SHORT_TRANSACTIONS if short else TRANSACTIONS)
            if "memory" in chosen:
                figures += _memory(tier, SHORT_CLIENTS if short else CLIENTS)
    if "pools" in chosen:
        with sized(100) as fleet:
            for size in POOLS[:1] if short else POOLS:
                figures += _pools(fleet, size, 0.5 if short else 6.0)
    return figures


# What a transaction costs


@dataclass(frozen=True)
class Way:
    """`does` so many transactions; `share` of the usual number, for those that take long."""

    what: str
    does: Callable[[Chain, int], None]
    share: float = 1.0


def _one_by_one(client: Session, transactions: int) -> None:
    for _ in range(transactions):
        client.execute("SELECT 1")


def _simple(tier: Chain, transactions: int, sslmode: str = "verify-full") -> None:
    with tier.enter("alice", sslmode=sslmode) as client:
        _one_by_one(client, transactions)


def _direct(tier: Chain, transactions: int) -> None:
    with tier.enter_postgresql("alice") as client:
        _one_by_one(client, transactions)


def _prepared(tier: Chain, transactions: int) -> None:
    with tier.enter("alice", prepare_threshold=0) as client:
        for number in range(transactions):
            client.execute("SELECT %s::int", [number])


def _pipelined(tier: Chain, transactions: int) -> None:
    with tier.enter("alice", prepare_threshold=0) as client:
        for _ in range(transactions // _PIPELINE):
            with client.pipeline():
                for number in range(_PIPELINE):
                    client.execute("SELECT %s::int", [number])


def _in_three(tier: Chain, transactions: int) -> None:
    with tier.enter("alice") as client:
        for _ in range(transactions):
            with client.transaction():
                client.execute("SELECT 1")


def _connecting(tier: Chain, transactions: int, sslmode: str = "verify-full") -> None:
    for _ in range(transactions):
        _simple(tier, 1, sslmode)


def _connecting_directly(tier: Chain, transactions: int) -> None:
    for _ in range(transactions):
        _direct(tier, 1)


def _fresh(tier: Chain, transactions: int) -> None:
    with tier.enter("alice") as client:
        for _ in range(transactions):
            tier.host.instances[CONSOLE].ask("RECONNECT app")
            _one_by_one(client, 1)


WAYS = (
    Way("one statement", _simple),
    Way("one statement, client without TLS", lambda tier, number: _simple(tier, number, sslmode="disable")),
    Way("one statement, prepared", _prepared),
    Way("one of ten prepared statements sent at once", _pipelined),
    Way("BEGIN, one statement, COMMIT", _in_three),
    Way("a new server connection for each", _fresh, 0.1),
    Way("a new client connection for each", _connecting, 0.1),
    Way(
        "a new client connection for each, without TLS",
        lambda tier, number: _connecting(tier, number, sslmode="disable"),
        0.1,
    ),
    Way("without a pooler: one statement", _direct),
    Way("without a pooler: a new connection for each", _connecting_directly, 0.1),
)


def _costs(tier: Chain, runs: int, transactions: int) -> list[Figure]:
    processor: dict[str, list[float]] = {way.what: [] for way in WAYS}
    clock: dict[str, list[float]] = {way.what: [] for way in WAYS}
    for number in range(runs + 1):
        for way in WAYS:
            few = max(_PIPELINE, int(transactions * way.share))
            before, began = _worked(tier), time.monotonic()
            way.does(tier, few)
            took, worked = time.monotonic() - began, _worked(tier) - before
            # The first round warms up.
            if number:
                processor[way.what].append(worked / few * 1e6)
                clock[way.what].append(took / few * 1e6)
    figures = []
    for way in WAYS:
        figures.append(Figure(f"{way.what}: takes", statistics.median(clock[way.what]), "µs"))
        if not way.what.startswith("without a pooler"):
            figures.append(Figure(f"{way.what}: the engine works", statistics.median(processor[way.what]), "µs"))
    return figures


def _worked(tier: Chain) -> float:
    """Seconds of a processor that the engine has used so far."""
    pid = tier.host.instances[CONSOLE].process.pid
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9


# What a connection costs in memory


def _memory(tier: Chain, clients: int) -> list[Figure]:
    """Of those who have asked something once and are silent since."""
    figures = []
    for what, sslmode in (("with TLS", "verify-full"), ("without TLS", "disable")):
        tier.host.restart(tier.host.instances[CONSOLE].unit_digest, CONSOLE)
        engine = [tier.host.instances[CONSOLE].process.pid]
        _simple(tier, 1, sslmode=sslmode)
        with contextlib.ExitStack() as held:
            before = _memory_of(engine)
            for _ in range(clients):
                _one_by_one(held.enter_context(tier.enter("alice", sslmode=sslmode)), 1)
            figures.append(Figure(f"memory: a client {what}", (_memory_of(engine) - before) / clients, "KiB"))
    with contextlib.ExitStack() as held:
        pids = []
        for _ in range(BACKENDS):
            client = held.enter_context(tier.enter_postgresql("alice"))
            client.execute("SELECT count(*) FROM pg_class JOIN pg_attribute ON attrelid = pg_class.oid")
            pids.append(client.info.backend_pid)
        outside = [_outside(tier.network, pid) for pid in pids]
        figures.append(Figure("memory: a connection of PostgreSQL", _memory_of(outside) / BACKENDS, "KiB"))
    return figures


def _memory_of(pids: Sequence[int]) -> int:
    """In KiB; what processes share is counted in parts."""
    lines = [line for pid in pids for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()]
    return sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))


def _outside(postmaster: int, pid: int) -> int:
    """A backend's number here, from that which it has itself."""
    for child in Path(f"/proc/{postmaster}/task/{postmaster}/children").read_text().split():
        status = Path(f"/proc/{child}/status").read_text()
        numbers = next(line for line in status.splitlines() if line.startswith("NSpid:")).split()
        if int(numbers[-1]) == pid:
            return int(child)
    raise LookupError(pid)


# What the size of a pool does

POOLS = (1, 2, 4, 8, 16, 32)
"""Server connections; PostgreSQL, engine and clients share the cores of this machine."""

WORKERS = 32
_COMPUTES = "SELECT count(*) FROM generate_series(1, 40000)"
_PAUSE = 0.010
"""Seconds between two statements of a transaction, as of an application that thinks or is far away."""


def _pools(fleet: Sized, size: int, seconds: float) -> list[Figure]:
    fleet.serves({"default_pool_size": size, "min_pool_size": size}, instances=1)
    figures = []
    for what, work in (("computes", _compute), ("pauses", _pause)):
        took = sorted(asyncio.run(_worked_on(fleet.pools[POOL], work, seconds)))
        pool = f"a pool of {size}, each transaction {what}:"
        figures += [
            Figure(f"{pool} a second", len(took) / seconds, ""),
            Figure(f"{pool} median", statistics.median(took) * 1000, "ms"),
            Figure(f"{pool} 99 % within", took[int(len(took) * 0.99)] * 1000, "ms"),
        ]
    return figures


async def _compute(client: asyncpg.Connection) -> None:
    await client.fetchval(_COMPUTES)


async def _pause(client: asyncpg.Connection) -> None:
    async with client.transaction():
        await client.fetchval("SELECT 1")
        await asyncio.sleep(_PAUSE)
        await client.fetchval("SELECT 1")


async def _worked_on(place: Path, work: Callable[[asyncpg.Connection], Awaitable[None]], seconds: float) -> list[float]:
    """How long each transaction took its client, the wait for a server connection included."""
    clients = await asyncio.gather(
        *(asyncpg.connect(host=str(place), port=6432, user=ROLE, database="app") for _ in range(WORKERS))
    )
    took: list[float] = []
    ends = time.monotonic() + seconds

    async def repeat(client: asyncpg.Connection) -> None:
        while (began := time.monotonic()) < ends:
            await work(client)
            took.append(time.monotonic() - began)

    await asyncio.gather(*(repeat(client) for client in clients))
    await asyncio.gather(*(client.close() for client in clients))
    return took
