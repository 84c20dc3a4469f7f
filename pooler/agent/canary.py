"""One client of the pool that tells what clients feel: a short transaction again and again, on a kept connection."""

from __future__ import annotations

import asyncio
import contextlib
import time

from ..errors import PoolerError
from . import wire
from .config import DATABASE

PACE = 0.02
"""Seconds between two transactions."""

_AGAIN = 0.1
"""Seconds after a failed one."""

_QUESTION = "SELECT pg_catalog.pg_is_in_recovery()"


class Canary:
    """`stall` is the longest time in seconds without a success, the last one until `stop` included."""

    def __init__(self, socket: str, role: str) -> None:
        self.failed = 0
        self.done = 0
        self.error = ""
        self._stall = 0.0
        self._last = time.monotonic()
        self._socket = socket
        self._role = role
        self._succeeded = asyncio.Event()
        self._task = asyncio.create_task(self._run())

    async def started(self, seconds: float) -> bool:
        """Whether a transaction has succeeded within so long."""
        return await self._success(seconds)

    def cancel(self) -> None:
        self._task.cancel()

    async def stop(self, seconds: float) -> dict[str, float | int]:
        """End it after one more success, or so long: only then is it known how long it has waited."""
        self._succeeded.clear()
        await self._success(seconds)
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task
        return {"stall": round(max(self._stall, self._gap()), 4), "failed": self.failed, "done": self.done}

    async def _success(self, seconds: float) -> bool:
        try:
            async with asyncio.timeout(seconds):
                await self._succeeded.wait()
        except TimeoutError:
            return False
        return True

    def _gap(self) -> float:
        return time.monotonic() - self._last

    async def _run(self) -> None:
        session = None
        try:
            while True:
                try:
                    if session is None:
                        session = await wire.over_socket(self._socket, self._role, DATABASE)
                    await _transaction(session)
                except PoolerError as error:
                    self.failed += 1
                    self.error = str(error)
                    if session is not None:
                        session.close()
                        session = None
                    await asyncio.sleep(_AGAIN)
                    continue
                if self.done:
                    self._stall = max(self._stall, self._gap())
                self._last = time.monotonic()
                self.done += 1
                self._succeeded.set()
                await asyncio.sleep(PACE)
        finally:
            if session is not None:
                session.close()


async def _transaction(session: wire.Session) -> None:
    """A round trip for each statement, as clients do. Raises PoolerError, also when the server takes no writes."""
    await session.ask("BEGIN")
    (answer,) = await session.ask(_QUESTION)
    await session.ask("COMMIT")
    if answer.first() != ("f",):
        raise PoolerError("the server is in recovery")
