"""Clients that log in as cheaply as they can: `python -m tests.bench.logins_load`, settings as JSON on stdin.

They derive their keys once instead of at each login, so that the pooler has more to do than they. With `each` they log
in, ask one question and leave, so many times each, and how many seconds that took is printed. Without, they all log in,
say so, and wait until standard input ends.
"""

from __future__ import annotations

import asyncio
import functools
import json
import ssl
import sys
import time
from typing import Any

from pooler import scram
from pooler.agent import wire
from pooler.errors import PoolerError

scram.keys = functools.cache(scram.keys)

_AT_ONCE = 16


async def main() -> None:
    given = json.loads(sys.stdin.readline())
    # Whose certificate it is makes no difference to what a login costs a pooler.
    tls = ssl.create_default_context()
    tls.check_hostname, tls.verify_mode = False, ssl.CERT_NONE
    if given["each"]:
        began = time.monotonic()
        await asyncio.gather(*(_again(given, tls) for _client in range(given["clients"])))
        print(time.monotonic() - began, flush=True)
        return
    sessions: list[wire.Session] = []
    while len(sessions) < given["clients"]:
        count = min(_AT_ONCE, given["clients"] - len(sessions))
        sessions += await asyncio.gather(*(_log_in(given, tls) for _client in range(count)))
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.read)


async def _again(given: dict[str, Any], tls: ssl.SSLContext) -> None:
    for _login in range(given["each"]):
        session = await _log_in(given, tls)
        await session.ask("SELECT 1")
        session.close()


async def _log_in(given: dict[str, Any], tls: ssl.SSLContext) -> wire.Session:
    return await wire.over_tls(given["host"], given["port"], tls, given["parameters"], given["password"])


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except PoolerError as error:
        sys.exit(str(error))
