"""What `pooler size` says, on the real engine: clients that do not fit without a pool, and that it fits them."""

from __future__ import annotations

import asyncio
from pathlib import Path

import asyncpg

from tests.engine.sized import ROLE, Sized, settings_for, sized

CLIENTS = 576
MAX_CONNECTIONS = 200


async def _connected(place: Path, port: int, number: int) -> list[asyncpg.Connection]:
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


async def _pooled(fleet: Sized) -> tuple[list[object], int]:
    """What came of three transactions of each client, all connected, and the most server connections seen."""
    share = CLIENTS // len(fleet.pools)
    found = await asyncio.gather(*(_connected(place, 6432, share) for place in fleet.pools.values()))
    clients = [client for each in found for client in each]
    assert [client for client in clients if isinstance(client, BaseException)] == []

    async def work(client: asyncpg.Connection) -> object:
        return [await client.fetchval("SELECT $1::int", number) for number in range(3)]

    working = asyncio.gather(*(work(client) for client in clients), return_exceptions=True)
    most = 0
    while not working.done():
        most = max(most, await asyncio.to_thread(fleet.open))
    answers = await working
    await asyncio.gather(*(client.close() for client in clients))
    return list(answers), most


def test_576_clients_do_not_fit_and_through_the_sized_pool_none_fails() -> None:
    settings, found = settings_for(services=12, replicas=3, pool=16, max_connections=MAX_CONNECTIONS, cores=8)
    with sized(MAX_CONNECTIONS) as fleet:
        entered, refused = asyncio.run(_direct(fleet))
        fleet.serves(settings, instances=2)
        answers, most = asyncio.run(_pooled(fleet))

    assert (entered, refused) == (MAX_CONNECTIONS - 1, CLIENTS - MAX_CONNECTIONS + 1)
    assert answers == [[0, 1, 2]] * CLIENTS
    assert 0 < most <= found.servers
