"""Each instance watched: what its console says, and whether a query through its pool reaches the right server."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from ..errors import PoolerError
from . import wire
from .config import DATABASE, REPLICA_DATABASE, AgentConfig
from .consoles import RUNTIME, Console, Facts
from .rhythm import due

INTERVAL = 1.0
"""Seconds between two looks at an instance."""

FRESH = 2.0
"""Seconds for which the answer of a pool counts."""

SECONDS = 1.0
"""After which a query through a pool is late."""

_SOON = 0.1
"""Seconds between two looks at least, and until it is looked again whether a pool can be asked."""

_AFTER_PAUSE = 0.3
"""Seconds after a pause in which no pool is asked: clients who have waited come first to the server."""

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

    def repeats(self, before: Instance) -> bool:
        """Whether its console tells nothing that was not known."""
        if self.facts is None or before.facts is None:
            return self.facts is before.facts and self.error == before.error
        return replace(self.facts, at=before.facts.at) == before.facts


class Instances:
    """All of the host. `seen` by console; `looked` is called after every look, with whether it told something new."""

    def __init__(
        self,
        config: AgentConfig,
        waiting: Callable[[Facts], bool],
        looked: Callable[[bool], None],
        runtime: str = RUNTIME,
    ) -> None:
        self.seen = {name: Instance(Console(name, config.port, runtime)) for name in config.consoles}
        self._config = config
        self._waiting = waiting
        self._looked = looked
        self._wake = {name: asyncio.Event() for name in config.consoles}
        self._unseen = set(config.consoles)
        self.all_seen = asyncio.Event()
        """Set when every one has been looked at."""

    def look_now(self) -> None:
        for event in self._wake.values():
            event.set()

    def look_after_pause(self) -> None:
        """A moment later: clients who have waited come first."""
        asyncio.get_running_loop().call_later(_SOON, self.look_now)

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            for name in self.seen:
                group.create_task(self._watch(name))
                group.create_task(self._watch_pool(name, DATABASE))
                if REPLICA_DATABASE in self._config.targets:
                    group.create_task(self._watch_pool(name, REPLICA_DATABASE))

    async def _watch(self, name: int) -> None:
        wake = self._wake[name]
        while True:
            began = time.monotonic()
            before = self.seen[name]
            console = before.console
            try:
                # Meanwhile an answer through the pool may come, so that nothing is read before.
                facts = await console.facts()
                self.seen[name] = replace(self.seen[name], facts=facts, error="")
            except PoolerError as error:
                self.seen[name] = Instance(console, error=str(error))
            self._unseen.discard(name)
            if not self._unseen:
                self.all_seen.set()
            self._looked(not self.seen[name].repeats(before))
            wake.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(_SOON, due(began, INTERVAL) - time.monotonic())):
                    await wake.wait()

    async def _watch_pool(self, name: int, database: str) -> None:
        """Ask through the pool, each time over a connection of its own, that is not kept.

        One that is not answered is waited for, and said to be so: the engine does not notice that a client which waits
        has gone, so that new ones would pile up.
        """
        asking: asyncio.Task[Served] | None = None
        since = waited_at = 0.0
        while True:
            began = time.monotonic()
            facts = self.seen[name].facts
            if facts is not None and self._waiting(facts):
                waited_at = began
            if facts is None and asking is not None:
                asking.cancel()
                asking = None
            calm = began - waited_at > _AFTER_PAUSE
            if asking is None and calm and facts is not None and database in facts.hosts:
                asking, since = asyncio.create_task(self._served(self.seen[name].console, database)), began
            if asking is not None:
                done, _pending = await asyncio.wait({asking}, timeout=SECONDS)
                waited = time.monotonic() - since
                served = asking.result() if done else Served(time.monotonic(), error=_no_answer(waited))
                asking = None if done else asking
                seen = self.seen[name]
                if seen.facts is not None and database == DATABASE:
                    self.seen[name] = replace(seen, leader_pool=served)
                elif seen.facts is not None:
                    self.seen[name] = replace(seen, replica_pool=served)
                await asyncio.sleep(max(_SOON, due(began, INTERVAL) - time.monotonic()))
            else:
                await asyncio.sleep(_SOON)

    async def _served(self, console: Console, database: str) -> Served:
        try:
            asked = wire.over_socket(console.socket, self._config.role, database, THROUGH_POOL)
            with contextlib.closing(await asked) as session:
                (table,) = await session.told(1)
            recovery, *read_only = table.first()
        except (PoolerError, ValueError) as error:
            return Served(time.monotonic(), error=str(error))
        in_recovery = recovery == "t"
        return Served(time.monotonic(), not in_recovery and set(read_only) == {"off"}, in_recovery)


def _no_answer(seconds: float) -> str:
    return f"no answer through the pool for {seconds:.1f} s"
