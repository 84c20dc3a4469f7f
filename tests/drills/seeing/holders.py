"""Clients that log in and hold a transaction, or nothing, until their program's standard input ends.

As a program: settings as one line of JSON on standard input; a line on standard output when they are there.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field

import asyncpg


@dataclass(frozen=True)
class Holders:
    """`namespace`: the network they come from. `begin`: each opens a transaction; only the first is waited for."""

    namespace: str
    host: str
    port: int
    password: str = field(repr=False)
    authority: str
    count: int
    begin: bool = True


@contextlib.contextmanager
def holding(holders: Holders) -> Iterator[None]:
    command = ["ip", "netns", "exec", holders.namespace, sys.executable, "-m", "tests.drills.seeing.holders"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin
        assert process.stdout
        process.stdin.write(json.dumps(asdict(holders)) + "\n")
        process.stdin.flush()
        if not process.stdout.readline():
            raise SystemExit("the clients could not log in")
        try:
            yield
        finally:
            process.stdin.close()


async def _hold(holders: Holders) -> None:
    tls = ssl.create_default_context(cafile=holders.authority)
    clients = [await _client(holders, tls) for _ in range(holders.count)]
    waiting = [asyncio.create_task(client.execute("BEGIN")) for client in clients] if holders.begin else []
    if waiting:
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    print("there", flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    for task in waiting:
        task.cancel()
    for client in clients:
        client.terminate()
    await asyncio.gather(*waiting, return_exceptions=True)


async def _client(holders: Holders, tls: ssl.SSLContext) -> asyncpg.Connection:
    return await asyncpg.connect(
        host=holders.host,
        port=holders.port,
        user="app",
        password=holders.password,
        database="app",
        ssl=tls,
        timeout=60,
        statement_cache_size=0,
    )


if __name__ == "__main__":
    asyncio.run(_hold(Holders(**json.loads(sys.stdin.readline()))))
