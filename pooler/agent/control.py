"""What a switchover orders: following held, pauses and another server, as long as its connection lives."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from ..errors import PoolerError
from ..server import Server
from . import journal
from .canary import Canary
from .config import AgentConfig
from .decide import Pause
from .follower import Follower
from .hands import Hands
from .health import spelled
from .instances import Instances
from .server import Answer, Request

MOST_SECONDS = 300.0
"""The longest hold."""

CANARY_SECONDS = 2.0
"""Within so long the canary's first transaction must succeed, and the last one is waited for."""


_UNDOING = ("/resume", "/release", "/canary/stop")
_NOTHING_FELT = {"stall": 0.0, "failed": 0, "done": 0}


class Control:
    """The orders. Each is answered when it is carried out; 409 to whoever does not hold the agent."""

    def __init__(self, config: AgentConfig, follower: Follower, hands: Hands, instances: Instances) -> None:
        self._config = config
        self._follower = follower
        self._hands = hands
        self._instances = instances
        self._canary: Canary | None = None
        self._canary_of: object | None = None
        self._by = ""
        self._orders: Mapping[str, Callable[[Request], Awaitable[Answer]]] = {
            "/hold": self._hold,
            "/pause": self._pause,
            "/point": self._point,
            "/resume": self._resume,
            "/release": self._release,
            "/canary": self._start_canary,
            "/canary/stop": self._stop_canary,
        }

    async def answer(self, request: Request) -> Answer | None:
        """None for what is no order."""
        order = self._orders.get(request.path)
        if order is None:
            return None
        if request.method != "POST":
            return Answer(405, {"error": "POST"})
        if request.who != self._config.role:
            return Answer(403, {"error": f"needs a client certificate of {self._config.role}"})
        if not self._config.targets:
            return Answer(409, {"error": "this agent follows nobody: its databases have a fixed server"})
        holder = self._follower.holder if self._follower.held(time.monotonic()) else None
        if holder not in (None, request.connection):
            return Answer(409, {"error": f"held by {self._by}"})
        if holder is None and request.path != "/hold":
            if request.path in _UNDOING:
                # Nothing is left to undo: whatever was, the follower ends by itself.
                return Answer(body=_NOTHING_FELT if request.path == "/canary/stop" else {})
            return Answer(409, {"error": "not held, or no longer: POST /hold first"})
        try:
            return await order(request)
        except PoolerError as error:
            return Answer(503, {"error": str(error)})
        except (KeyError, TypeError, ValueError) as error:
            return Answer(400, {"error": f"{request.path}: {error!r}"})

    def gone(self, connection: object) -> None:
        """The connection has ended: what it has ordered is undone, by following again."""
        if self._canary_of is connection:
            self._drop_canary()
        if self._follower.holder is connection:
            journal.say("who held the agent is gone: it follows again")
            self._let_go()

    async def _hold(self, request: Request) -> Answer:
        seconds = min(float(request.body["seconds"]), MOST_SECONDS)
        async with self._follower.own():
            self._follower.holder = request.connection
            self._follower.held_until = time.monotonic() + seconds
        self._by = f"{request.who} for {seconds:g} s"
        journal.say(f"held by {self._by}")
        return Answer()

    async def _pause(self, _request: Request) -> Answer:
        """No transaction begins any more; all or none. Whatever comes in between, the follower ends it at its limit."""
        limit = self._config.pause_limit
        silent = [f"instance {name} does not answer" for name, seen in self._instances.seen.items() if not seen.facts]
        if silent:
            return Answer(504, {"error": "; ".join(silent)})
        async with self._follower.own():
            self._follower.paused(Pause("switchover", time.monotonic() + limit))
            try:
                wrong = await self._hands.start_pause("switchover", limit)
            except BaseException:
                await self._end_pause()
                raise
            if wrong:
                await self._end_pause()
                return Answer(504, {"error": "; ".join(wrong)})
        return Answer()

    async def _point(self, request: Request) -> Answer:
        """With `seconds` answered only when the transactions that the pause has found are over: they end meanwhile."""
        server = Server(str(request.body["host"]), int(request.body["port"]))
        seconds = min(float(request.body.get("seconds", 0.0)), self._config.pause_limit)
        pointers = {name: server for name, target in self._config.targets.items() if target == "leader"}
        async with self._follower.own():
            over = asyncio.create_task(self._hands.paused(seconds)) if seconds else None
            try:
                wrong = await self._hands.reload_all(pointers)
                self._follower.pointed(server)
                wrong += await over if over else []
            finally:
                if over:
                    over.cancel()
        journal.say(f"pointed at {spelled(server)} by order")
        return Answer(503, {"error": "; ".join(wrong)}) if wrong else Answer()

    async def _resume(self, _request: Request) -> Answer:
        async with self._follower.own():
            wrong = await self._end_pause() if self._hands.made else []
        return Answer(503, {"error": "; ".join(wrong)}) if wrong else Answer()

    async def _release(self, _request: Request) -> Answer:
        journal.say("released: it follows again")
        self._let_go()
        return Answer()

    async def _start_canary(self, request: Request) -> Answer:
        self._drop_canary()
        instance = next((seen for seen in self._instances.seen.values() if seen.facts is not None), None)
        if instance is None:
            return Answer(503, {"error": "no instance answers"})
        self._canary_of = request.connection
        self._canary = canary = Canary(instance.console.socket, self._config.role)
        if await canary.started(CANARY_SECONDS):
            return Answer()
        self._drop_canary()
        why = canary.error or "no answer"
        return Answer(503, {"error": f"no transaction succeeds within {CANARY_SECONDS:g} s ({why})"})

    async def _stop_canary(self, _request: Request) -> Answer:
        canary, self._canary = self._canary, None
        felt: Mapping[str, Any] = await canary.stop(CANARY_SECONDS) if canary else _NOTHING_FELT
        return Answer(body=felt)

    async def _end_pause(self) -> list[str]:
        """Those that do not even answer have no client that waits."""
        self._follower.resumed()
        wrong = await asyncio.shield(self._hands.resume())
        silent = tuple(f"instance {name}:" for name, seen in self._instances.seen.items() if seen.facts is None)
        return [each for each in wrong if not each.startswith(silent)] if silent else wrong

    def _let_go(self) -> None:
        self._drop_canary()
        self._follower.let_go()

    def _drop_canary(self) -> None:
        if self._canary is not None:
            self._canary.cancel()
            self._canary = None
