"""The clients of twelve services with three replicas and pools of 16, at PostgreSQL itself and at the sized pool."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path

import asyncpg

from tests.engine.sized import ROLE, Sized, settings_for, sized

CLIENTS = 576
MAX_CONNECTIONS = 200
_TRANSACTIONS = 3


@dataclass(frozen=True)
class Crowd:
    """`entered` and `refused`: clients at PostgreSQL. `failed`: those of all clients whom the pool did not serve.

    `most` server connections were seen, of `servers` that `pooler size` has counted.
    """

    entered: int
    refused: int
    failed: int
    most: int
    servers: int


def crowd() -> Crowd:
    settings, found = settings_for(services=12, replicas=3, pool=16, max_connections=MAX_CONNECTIONS, cores=8)
    with sized(MAX_CONNECTIONS) as fleet:
        entered, refused = asyncio.run(_direct(fleet))
        fleet.serves(settings, instances=2)
        failed, most = asyncio.run(_pooled(fleet))
    return Crowd(entered, refused, failed, most, found.servers)


async def _connected(place: Path, port: int, number: int) -> list[asyncpg.Connection | BaseException]:
    """So many connections, or the errors instead; a queue of the kernel holds no more than some at a time."""
    few = asyncio.Semaphore(50)

    async def one() -> asyncpg.Connection:
        async with few:
            return await asyncpg.connect(host=str(place), port=port, user=ROLE, database="app", timeout=120)

    return await asyncio.gather(*(one() for _ in range(number)), return_exceptions=True)


async def _direct(fleet: Sized) -> tuple[int, int]:
    """How many clients PostgreSQL lets in, and how many it sends away."""
    found = await _connected(fleet.direct, 5432, CLIENTS)
    refused = [each for each in found if isinstance(each, asyncpg.TooManyConnectionsError)]
    entered = [each for each in found if isinstance(each, asyncpg.Connection)]
    await asyncio.gather(*(each.close() for each in entered))
    return len(entered), len(refused)


async def _pooled(fleet: Sized) -> tuple[int, int]:
    """How many of the clients failed, all connected and with some transactions each; the most server connections."""
    share = CLIENTS // len(fleet.pools)
    found = await asyncio.gather(*(_connected(place, 6432, share) for place in fleet.pools.values()))
    clients = [client for each in found for client in each if isinstance(client, asyncpg.Connection)]

    async def works(client: asyncpg.Connection) -> bool:
        numbers = list(range(_TRANSACTIONS))
        return [await client.fetchval("SELECT $1::int", number) for number in numbers] == numbers

    working = asyncio.gather(*(works(client) for client in clients), return_exceptions=True)
    most = 0
    while not working.done():
        most = max(most, await asyncio.to_thread(fleet.open))
    served = [answer for answer in await working if answer is True]
    await asyncio.gather(*(client.close() for client in clients))
    return CLIENTS - len(served), most
