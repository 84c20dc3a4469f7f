"""Each instance watched: what its console says, and whether a query through its pool reaches the right server."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

from ..errors import PoolerError
from . import wire
from .config import DATABASE, REPLICA_DATABASE, AgentConfig
from .consoles import RUNTIME, Console, Facts

INTERVAL = 1.0
"""Seconds between two looks at an instance."""

FRESH = 2.0
"""Seconds for which the answer of a pool counts."""

SECONDS = 1.0
"""For one query through a pool."""

THROUGH_POOL = (
    "SELECT pg_catalog.pg_is_in_recovery(), pg_catalog.current_setting('transaction_read_only'),"
    " pg_catalog.current_setting('default_transaction_read_only')"
)


@dataclass(frozen=True)
class Served:
    """What a query through a pool has told. `error` says why it told nothing."""

    at: float
    writable: bool = False
    in_recovery: bool = False
    error: str = ""

    def fresh(self, now: float) -> bool:
        return now - self.at <= FRESH


@dataclass(frozen=True)
class Instance:
    """`facts` is None while the console does not answer, and `error` says why."""

    console: Console
    facts: Facts | None = None
    error: str = "not asked yet"
    leader_pool: Served | None = None
    replica_pool: Served | None = None


class Instances:
    """All of the host. `seen` by console; `heard` is called when there is something new."""

    def __init__(
        self, config: AgentConfig, waiting: Callable[[Facts], bool], heard: Callable[[], None], runtime: str = RUNTIME
    ) -> None:
        self.seen = {name: Instance(Console(name, config.port, runtime)) for name in config.consoles}
        self._config = config
        self._waiting = waiting
        self._heard = heard
        self._wake = {name: asyncio.Event() for name in config.consoles}
        self._unseen = set(config.consoles)
        self.all_seen = asyncio.Event()
        """Set when every one has been looked at."""

    def look_now(self) -> None:
        for event in self._wake.values():
            event.set()

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            for name in self.seen:
                group.create_task(self._watch(name))

    async def _watch(self, name: int) -> None:
        wake = self._wake[name]
        while True:
            began = time.monotonic()
            self.seen[name] = await self._look(self.seen[name])
            self._unseen.discard(name)
            if not self._unseen:
                self.all_seen.set()
            self._heard()
            wake.clear()
            try:
                async with asyncio.timeout(max(0.1, INTERVAL - (time.monotonic() - began))):
                    await wake.wait()
            except TimeoutError:
                pass

    async def _look(self, before: Instance) -> Instance:
        console = before.console
        try:
            facts = await console.facts()
        except PoolerError as error:
            return Instance(console, error=str(error))
        if self._waiting(facts):
            # A query would wait as all do.
            return Instance(console, facts, "", before.leader_pool, before.replica_pool)
        leader = replica = None
        if DATABASE in facts.hosts:
            leader = await self._served(console, DATABASE)
        if REPLICA_DATABASE in facts.hosts:
            replica = await self._served(console, REPLICA_DATABASE)
        return Instance(console, facts, "", leader, replica)

    async def _served(self, console: Console, database: str) -> Served:
        """As a client would see it: over a connection of its own, that is not kept."""
        try:
            async with asyncio.timeout(SECONDS):
                session = await wire.over_socket(console.socket, self._config.role, database)
                try:
                    (table,) = await session.ask(THROUGH_POOL)
                finally:
                    session.close()
            recovery, *read_only = table.first()
        except TimeoutError:
            return Served(time.monotonic(), error=f"no answer through the pool within {SECONDS:g} s")
        except (PoolerError, ValueError) as error:
            return Served(time.monotonic(), error=str(error))
        in_recovery = recovery == "t"
        return Served(time.monotonic(), not in_recovery and set(read_only) == {"off"}, in_recovery)
