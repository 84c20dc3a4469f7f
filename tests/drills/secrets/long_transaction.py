"""`python -m tests.drills.secrets.long_transaction`: one transaction from the first line of input until its end.

Prints a line when it has begun; and the backends that served it, as JSON, when it was committed.
"""

from __future__ import annotations

import asyncio
import json
import sys

from pooler.drill.connect import connect
from pooler.drill.settings import Settings

PAUSE = 0.5
_BACKEND = "SELECT pg_catalog.pg_backend_pid()"


async def main() -> None:
    connection = await connect(Settings.from_json(sys.stdin.readline()))
    over = asyncio.create_task(asyncio.to_thread(sys.stdin.read))
    async with connection.transaction():
        seen = {await connection.fetchval(_BACKEND)}
        print("begun", flush=True)
        while not over.done():
            await asyncio.wait([over], timeout=PAUSE)
            seen.add(await connection.fetchval(_BACKEND))
    await connection.close()
    print(json.dumps(sorted(seen)))


if __name__ == "__main__":
    asyncio.run(main())
