"""Clients that open a new connection every time: whole logins with one query, and mere knocks at the door.

A login costs this side 10 to 20 ms of CPU, since the driver computes SCRAM in Python. A knock (connect, ask for TLS,
wait for the one-byte answer) costs a fiftieth and finds every refused, reset or forgotten connection just as well.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import time

import asyncpg

from .book import Stream
from .connect import connect, instance
from .failures import classify, describe
from .run import Run

_SSL_REQUEST = struct.pack("!II", 8, 80877103)
"""PostgreSQL's SSLRequest message; the answer is `S` or `N`."""

_RESET_ON_CLOSE = struct.pack("ii", 1, 0)
"""SO_LINGER with no time: closing leaves no TIME_WAIT behind, which would use up the ports of a long storm."""


async def log_in(run: Run, client: int) -> None:
    """A new connection for every write until the run is over."""
    while run.goes_on(Stream.LOGINS):
        began, number = time.monotonic(), run.ledger.draw()
        connection: asyncpg.Connection | None = None
        try:
            async with asyncio.timeout(run.settings.hung_after):
                connection = await connect(run.settings, client)
                run.ledger.committing()
                await connection.execute(f"INSERT INTO drill_write VALUES ({number})")
                run.ledger.committed()
        except Exception as error:  # whatever a client may see is counted
            run.failure(Stream.LOGINS, classify(error), describe(error))
        else:
            run.ledger.acknowledge(number)
            where = instance(run.settings, client, connection)
            run.success(Stream.LOGINS, client, time.monotonic() - began, where)
        if connection:
            await _close(connection)
        await run.rest(run.settings.login_pause)


async def knock(run: Run, client: int) -> None:
    """A new connection and the first word of a login, until the run is over."""
    address = await _resolve(run.settings.host_of(client), run.settings.port)
    while run.goes_on(Stream.KNOCKS):
        began = time.monotonic()
        try:
            async with asyncio.timeout(run.settings.hung_after):
                await _knock(address)
        except Exception as error:  # whatever a client may see is counted
            run.failure(Stream.KNOCKS, classify(error), describe(error))
        else:
            run.success(Stream.KNOCKS, client, time.monotonic() - began)
        await run.rest(run.settings.knock_pause)


async def _knock(address: tuple[str, int]) -> None:
    """Raises OSError or EOFError."""
    loop = asyncio.get_running_loop()
    with socket.socket() as door:
        door.setblocking(False)
        await loop.sock_connect(door, address)
        await loop.sock_sendall(door, _SSL_REQUEST)
        answer = await loop.sock_recv(door, 1)
        if not answer:
            raise EOFError("closed without an answer")
        if answer not in b"SN":
            raise ValueError(f"answered {answer!r} to an SSLRequest")
        door.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)


async def _resolve(host: str, port: int) -> tuple[str, int]:
    found = await asyncio.get_running_loop().getaddrinfo(host, port, family=socket.AF_INET, type=socket.SOCK_STREAM)
    address = found[0][4]
    return str(address[0]), int(address[1])


async def _close(connection: asyncpg.Connection) -> None:
    """How a connection ends that has served its purpose is no failure."""
    with contextlib.suppress(Exception):
        await connection.close(timeout=5)
