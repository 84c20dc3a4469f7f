"""A query on each instance, cancelled through the next one: what happens to cancel requests of clients.

A client's request comes over a new connection, which any instance of the host may get; peers pass it on.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from contextlib import closing

from ..agent import wire
from ..agent.config import DATABASE
from ..agent.consoles import Console
from ..errors import PoolerError
from .facts import Cancel

_QUERY = "SELECT pg_catalog.pg_sleep(0.7)"
"""Less than the agent waits for its own question, which goes through the same pool of one connection."""

_AGAIN = 0.1
"""Seconds until a request is sent once more: the first one may be there before the query."""

_SECONDS = 3.0


async def ring(consoles: Iterable[Console], role: str) -> tuple[Cancel, ...]:
    """Of one instance: through itself. One at a time, since they all need a server connection."""
    around = list(consoles)
    pairs = zip(around, around[1:] + around[:1], strict=True)
    return tuple([await _cancel(each, after, role) for each, after in pairs])


async def _cancel(console: Console, through: Console, role: str) -> Cancel:
    began = time.monotonic()
    try:
        async with asyncio.timeout(_SECONDS):
            with closing(await wire.over_socket(console.socket, role, DATABASE)) as session:
                session.send(_QUERY)
                answer = asyncio.create_task(session.answer())
                began = time.monotonic()
                while not answer.done():
                    await wire.cancel(through.socket, session.key)
                    await asyncio.wait({answer}, timeout=_AGAIN)
                refusal = answer.result()[1]
    except PoolerError as error:
        return Cancel(console.name, through.name, error=str(error))
    except TimeoutError:
        return Cancel(console.name, through.name, error=f"no answer within {_SECONDS:g} s")
    if "cancel" not in refusal:
        return Cancel(console.name, through.name, error=refusal or "the query was not cancelled")
    return Cancel(console.name, through.name, time.monotonic() - began)
