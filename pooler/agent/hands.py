"""What the agent does to its host: the hosts file, RELOAD, RECONNECT, PAUSE and RESUME, on all instances at once."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field

from ..commands import quoted
from ..errors import PoolerError
from ..server import Server
from . import journal
from .addresses import Addresses, spelled
from .config import AgentConfig
from .consoles import ALL, Console, Facts
from .counts import Counts
from .decide import Reason
from .hosts import Entries, HostsFile, Pointers
from .instances import Instances
from .records import Made, Records, explained


class Hands:
    """`made` is the pause that the agent has made and not ended everywhere yet, also one of an agent before it.

    `counts` is what it has done.
    """

    def __init__(self, config: AgentConfig, hosts: HostsFile, records: Records, instances: Instances) -> None:
        self.made: Made | None = records.made()
        self.counts = Counts()
        if self.made:
            self.counts.paused(self.made.reason)
        self._config = config
        self._hosts = hosts
        self._records = records
        self._instances = instances
        self._addresses = Addresses()
        self._reloaded: dict[int, float] = {}
        self._told: dict[int, float] = {}
        """When instances were last told to RELOAD, and to PAUSE or RESUME: what they said before is old."""
        self._comparisons: list[_Comparison] = []
        self._others: dict[int, frozenset[str]] = {}
        self._to_resume: set[int] = set()
        self._ending = False
        self._last: Mapping[str, Mapping[str, str]] = {}

    @property
    def pausing(self) -> bool:
        """Whether the agent's own pause is in force, and not over but for an instance that has not heard so."""
        return self.made is not None and not self._ending

    def settled(self, pointers: Pointers) -> bool:
        """Whether the hosts file and every instance that answers point there."""
        try:
            entries = self._hosts.read()
        except PoolerError:
            return False
        return self._looked_up(entries, pointers).right and not self._elsewhere(entries, pointers)

    async def point(self, pointers: Pointers) -> list[str]:
        """Make it so, under the lock: rewrite what points elsewhere, RELOAD whoever has not read it yet.

        Returns what is wrong with instances, which are healed later. Raises PoolerError when the file cannot be had.
        """
        async with self._hosts.owned():
            if self._hosts.point(pointers):
                wrong = await self._reload(self._alive())
                journal.say(f"hosts file: {_spelled(pointers)}")
            else:
                names = self._elsewhere(self._hosts.read(), pointers)
                wrong = await self._reload([self._instances.seen[name].console for name in names])
        self._instances.look_now()
        return wrong

    async def reload_all(self, pointers: Pointers) -> list[str]:
        """The same, and every instance that answers has read the file when it returns."""
        async with self._hosts.owned():
            if self._hosts.point(pointers):
                journal.say(f"hosts file: {_spelled(pointers)}")
            return await self._reload(list(self._alive()))

    async def start_pause(self, reason: Reason, seconds: float) -> list[str]:
        """Nobody begins a transaction from now on, anywhere; for so many seconds at most. Does not wait.

        Returns what is wrong with instances that answered before.
        """
        databases = self._form()
        self._remember(reason, seconds)

        async def pause(console: Console) -> None:
            await console.start_pause(databases(console))
            self._told[console.name] = time.monotonic()

        return await _each(self._alive(), pause)

    async def paused(self, seconds: float) -> list[str]:
        """Wait for the transactions under way when the pause began. Returns what is wrong; then it is not over."""
        databases = self._form()
        return await _each(self._alive(), lambda console: console.over(databases(console), seconds))

    async def resume(self) -> list[str]:
        """End the agent's own pause; what operators have paused stays so. What fails is tried again by `tend`."""
        self._ending = True
        self._to_resume = set(self._instances.seen)
        wrong = await self._resume(self._to_resume)
        self._instances.look_after_pause()
        return wrong

    async def tend(self, pointers: Pointers) -> None:
        """Look at what instances have said last and put right what is not as it is to be."""
        operators = self._records.paused()
        for name, seen in list(self._instances.seen.items()):
            if seen.facts is None:
                continue
            if name in self._to_resume:
                await self._resume({name})
                continue
            self.by_hand(name, seen.facts)
            try:
                await self._reconnect(seen.console, seen.facts, pointers)
                await self._pause_again(seen.console, seen.facts, operators)
            except PoolerError as error:
                journal.trouble(f"instance {name}: {error}")

    def by_hand(self, name: int, facts: Facts) -> frozenset[str]:
        """What is paused on an instance by nobody whom we know; what it said before it was last told counts no more."""
        if facts.at > self._told.get(name, 0.0):
            mine = self._own(name) if self.made else frozenset()
            self._others[name] = facts.paused - mine - explained(facts.paused, self._records.paused())
        return self._others.get(name, frozenset())

    def _alive(self) -> list[Console]:
        return [seen.console for seen in self._instances.seen.values() if seen.facts is not None]

    def _elsewhere(self, entries: Entries, pointers: Pointers) -> list[int]:
        """Instances whose databases point elsewhere, as far as has been heard since they were told."""
        agree = self._looked_up(entries, pointers).agree
        found = []
        for name, seen in self._instances.seen.items():
            facts = seen.facts
            if facts is None or facts.at <= self._reloaded.get(name, 0.0) or facts.hosts is agree.get(name):
                continue
            if all(
                (pointer := _pointer(database, entries, pointers)) is None or where == (pointer.host, pointer.port)
                for database, where in facts.hosts.items()
            ):
                agree[name] = facts.hosts
            else:
                found.append(name)
        return found

    def _looked_up(self, entries: Entries, pointers: Pointers) -> _Comparison:
        """What is asked many times a second, of a thousand databases or more, is compared once.

        Two are kept: that of all databases, and that of those which follow the leader.
        """
        for known in self._comparisons:
            if known.entries is entries and known.pointers == pointers:
                return known
        fresh = _Comparison(entries, pointers, right=not entries.astray(pointers))
        self._comparisons = [fresh, *self._comparisons[:1]]
        return fresh

    async def _reload(self, consoles: Iterable[Console]) -> list[str]:
        async def reload(console: Console) -> None:
            self.counts.reloads[console.name] += 1
            try:
                await console.tell("RELOAD")
            except PoolerError:
                self.counts.failed_reloads[console.name] += 1
                raise
            self._reloaded[console.name] = time.monotonic()

        return await _each(consoles, reload)

    async def _reconnect(self, console: Console, facts: Facts, pointers: Pointers) -> None:
        """Connections to another server than the databases point at, which the engine would go on using."""
        if facts.at <= self._reloaded.get(console.name, 0.0):
            return
        entries = self._hosts.read()
        astray = set()
        for link in facts.links:
            pointer = _pointer(link.database, entries, pointers)
            if pointer is None or link.leaving:
                continue
            addresses = self._addresses.of(pointer.host)
            if addresses is not None and (spelled(link.address) not in addresses or link.port != pointer.port):
                astray.add(link.database)
        if astray:
            journal.say(f"instance {console.name}: connections elsewhere are replaced: {', '.join(sorted(astray))}")
            await console.tell(*(f"RECONNECT {quoted(name)}" for name in sorted(astray)))
            self._reloaded[console.name] = time.monotonic()

    async def _pause_again(self, console: Console, facts: Facts, operators: frozenset[str]) -> None:
        """An instance that has come back, in a pause."""
        if ALL in facts.paused or facts.at <= self._told.get(console.name, 0.0):
            return
        if self.pausing:
            databases = self._form()(console)
            wanted = frozenset((ALL,)) if databases is None else databases
            if wanted - facts.paused:
                await console.start_pause(databases)
            return
        wanted = operators if ALL in operators else operators & frozenset(facts.hosts)
        if not wanted - facts.paused:
            return
        await console.start_pause(None if ALL in wanted else wanted - facts.paused)
        # Whoever has ended it meanwhile has deleted the record first.
        over = wanted - self._records.paused()
        if over:
            await console.resume(over)

    def _entries(self) -> Mapping[str, Mapping[str, str]]:
        """Of a file that somebody has broken, what was in it before."""
        with contextlib.suppress(PoolerError):
            self._last = self._hosts.read().databases
        return self._last

    def _form(self) -> Callable[[Console], frozenset[str] | None]:
        """What to pause: everything (None) when all databases follow the leader, else each that does."""
        entries, targets = self._entries(), self._config.targets
        if all(targets.get(name) == "leader" for name in entries):
            return lambda _: None
        return lambda console: self._following(console.name, entries)

    def _following(self, name: int, entries: Mapping[str, Mapping[str, str]]) -> frozenset[str]:
        """The databases of an instance that follow the leader, by their own entry or that of `*`."""
        facts, targets = self._instances.seen[name].facts, self._config.targets
        databases = facts.hosts if facts else entries
        return frozenset(
            each for each in databases if each != "*" and targets.get(each if each in entries else "*") == "leader"
        )

    def _own(self, name: int) -> frozenset[str]:
        """What may be paused by the agent, in whatever form: between PAUSE and RESUME a database may be added."""
        others = self.made.others.get(name, frozenset()) if self.made else frozenset()
        return (self._following(name, self._entries()) | {ALL}) - others

    def _remember(self, reason: Reason, seconds: float) -> None:
        others = {
            name: self.by_hand(name, seen.facts)
            for name, seen in self._instances.seen.items()
            if seen.facts is not None
        }
        made = Made(reason, time.time() + seconds, others)
        try:
            self._records.make(made)
        except OSError as error:
            raise PoolerError(f"no pause is made: its record cannot be written ({error.strerror})") from None
        self.made = made
        self.counts.paused(reason)
        self._ending = False
        self._to_resume.clear()

    async def _resume(self, names: Collection[int]) -> list[str]:
        operators = self._records.paused()

        databases = self._form()

        async def resume(console: Console) -> None:
            mine = self._own(console.name) - operators
            form = databases(console)
            await console.resume(mine, mine & (frozenset((ALL,)) if form is None else form))
            self._told[console.name] = time.monotonic()
            self._to_resume.discard(console.name)

        wrong = await _each([self._instances.seen[name].console for name in sorted(names)], resume)
        if not self._to_resume:
            self._records.forget()
            self.made = None
            self.counts.resumed()
            self._ending = False
        return wrong


@dataclass(frozen=True)
class _Comparison:
    """Whether a hosts file points as it is to, and, by instance, what it said when it agreed."""

    entries: Entries
    pointers: Pointers
    right: bool
    agree: dict[int, Mapping[str, tuple[str, int]]] = field(default_factory=dict)


def _pointer(database: str, entries: Entries, pointers: Pointers) -> Server | None:
    return pointers.get(database if database in entries.databases else "*")


def _spelled(pointers: Pointers) -> str:
    servers = sorted({(server.host, server.port) for server in pointers.values()})
    return "points at " + " and ".join(f"{host} port {port}" for host, port in servers)


async def _each(consoles: Iterable[Console], do: Callable[[Console], Awaitable[None]]) -> list[str]:
    """Do it on all at once; what went wrong, by instance."""

    async def one(console: Console) -> str | None:
        try:
            await do(console)
        except PoolerError as error:
            return f"instance {console.name}: {error}"
        return None

    return [wrong for wrong in await asyncio.gather(*(one(console) for console in consoles)) if wrong]
