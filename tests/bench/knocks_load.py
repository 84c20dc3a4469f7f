"""Clients that all come at the same moment: `python -m tests.bench.knocks_load`, settings as JSON on stdin.

Each connects, asks for TLS and leaves with the answer. Prints after how many seconds the last one had it.
"""

from __future__ import annotations

import asyncio
import json
import socket
import struct
import sys
import time

_TLS_PLEASE = struct.pack("!II", 8, 80877103)


async def main() -> None:
    given = json.loads(sys.stdin.readline())
    address = (given["host"], given["port"])
    began = time.monotonic()
    async with asyncio.timeout(60):
        await asyncio.gather(*(_knock(address) for _client in range(given["clients"])))
    print(time.monotonic() - began, flush=True)


async def _knock(address: tuple[str, int]) -> None:
    loop = asyncio.get_running_loop()
    with socket.socket() as door:
        door.setblocking(False)
        await loop.sock_connect(door, address)
        await loop.sock_sendall(door, _TLS_PLEASE)
        if await loop.sock_recv(door, 1) != b"S":
            raise OSError("not an answer")


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except (OSError, TimeoutError) as error:
        sys.exit(f"{type(error).__name__}: {error}")
