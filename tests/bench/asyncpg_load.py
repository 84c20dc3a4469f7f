"""Clients of asyncpg, each with so many transactions: `python -m tests.bench.asyncpg_load`, settings as JSON on stdin.

Once they are connected it says so, begins when it is told to, prints how many seconds they took, and leaves when
standard input ends. With `fresh`, each transaction is over a connection of its own.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time
from collections.abc import Mapping
from typing import Any

import asyncpg

_QUERY = "SELECT abalance FROM pgbench_accounts WHERE aid = $1"


async def main() -> None:
    given = json.loads(sys.stdin.readline())
    # Without a cache, statements have no name and nothing is kept: what comes closest to the simple protocol.
    options = given["connect"] | {"statement_cache_size": 100 if given["prepared"] else 0, "timeout": 60}
    clients = [None] * given["clients"]
    if not given["fresh"]:
        clients = await asyncio.gather(*(asyncpg.connect(**options) for _client in clients))
    print("ready", flush=True)
    sys.stdin.readline()
    began = time.monotonic()
    await asyncio.gather(*(_work(client, options, given["each"]) for client in clients))
    print(time.monotonic() - began, flush=True)
    sys.stdin.read()


async def _work(client: Any, options: Mapping[str, Any], each: int) -> None:
    for _transaction in range(each):
        connection = client or await asyncpg.connect(**options)
        await connection.fetchval(_QUERY, random.randint(1, 100_000))
        if client is None:
            await connection.close()


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        sys.exit(f"{type(error).__name__}: {error}")
