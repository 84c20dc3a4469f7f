"""One exercise: load, the event or somebody who is asked for it, its end by what clients feel, the report."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import TypeVar

from .book import Book, Stream
from .connect import connect
from .failures import describe
from .found import Found
from .happenings import Happening
from .limits import Limits
from .load import load
from .run import Run
from .settings import Settings
from .signs import SILENCE, Signs
from .timeline import Timeline

_LOOK_EACH = 0.25
_DONE_CALM = 3.0
"""Seconds without a sign that are enough when it is known that the event is over."""


@dataclass
class Exercise:
    """`cause` makes it happen and returns notes; None when a person has to. `leader` says whom Patroni names, or "".

    `say` gets what is to be told to a person, and `paint` each second what goes on: the book and a rate.
    """

    event: str
    happening: Happening
    settings: Settings
    cause: Callable[[], Awaitable[list[str]]] | None
    leader: Callable[[], str]
    say: Callable[[str], None]
    paint: Callable[[Book, Timeline, float], None]
    limits: Limits = field(default_factory=Limits)
    timeline: Timeline = field(default_factory=Timeline)
    _signs: Signs = field(default_factory=Signs, init=False)
    _named: str = field(default="", init=False)

    async def exercise(self) -> Found:
        """Until it is over, or `most_seconds` are, or somebody interrupts. Raises PoolerError when it cannot be run."""
        run, warm = Run(self.settings, timeline=self.timeline), asyncio.Event()
        loading = asyncio.create_task(load(run, warm.set))
        with _interrupted_by(run.stop):
            self.say(f"{self.settings.workers} clients log in")
            warming = asyncio.create_task(warm.wait())
            await asyncio.wait({warming, loading}, return_when=asyncio.FIRST_COMPLETED)
            warming.cancel()
            if loading.done():
                await loading  # says why
            watching = [asyncio.create_task(each) for each in (self._name_leader(), self._look(run))]
            try:
                notes = await self._happen(run)
                back = await _unless(run.stop, run.again())
            finally:
                for each in watching:
                    each.cancel()
                run.stop.set()
            report = await loading
        notes += await _tidy(self.settings)
        back = run.book.silence(Stream.TRANSACTIONS) < SILENCE if back is None else back
        signs = self._signs
        return Found(
            self.event,
            self.settings.workers,
            report,
            signs.first,
            back,
            tuple(signs.leaders),
            notes,
            self.timeline,
            tuple(self.limits.missed(report, self.timeline)),
        )

    async def _happen(self, run: Run) -> list[str]:
        notes, calm = list[str](), self.happening.calm
        if self.cause:
            self.say(f"{self.event} begins")
            notes = await _unless(run.stop, self.cause()) or []
            calm = min(calm, _DONE_CALM)
            self._signs.last = run.book.now()
        else:
            self.say(f"now {self.happening.todo}\n  (it is noticed by itself; Ctrl-C ends the drill)")
            while not self._signs.first and not run.stop.is_set():
                await asyncio.sleep(_LOOK_EACH)
            self.say(self._signs.first or "nothing was noticed")
        while not run.stop.is_set() and run.book.now() - self._signs.last < calm:
            await asyncio.sleep(_LOOK_EACH)
        return notes

    async def _name_leader(self) -> None:
        while True:
            self._named = await asyncio.to_thread(self.leader)
            await asyncio.sleep(_LOOK_EACH)

    async def _look(self, run: Run) -> None:
        """For signs, and each second for those who watch."""
        told, done = 0.0, 0
        while True:
            await asyncio.sleep(_LOOK_EACH)
            book, now = run.book, run.book.now()
            self._signs.look(book, self._named)
            if now - told >= 1:
                succeeded = book.tallies[Stream.TRANSACTIONS].succeeded
                self.paint(book, self.timeline, (succeeded - done) / (now - told))
                told, done = now, succeeded


_Result = TypeVar("_Result")


async def _unless(stop: asyncio.Event, awaited: Awaitable[_Result]) -> _Result | None:
    """Its result; None, and it is cancelled, when `stop` is set first."""
    wanted, stopped = asyncio.ensure_future(awaited), asyncio.create_task(stop.wait())
    await asyncio.wait({wanted, stopped}, return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    if wanted.done():
        return wanted.result()
    wanted.cancel()
    return None


@contextlib.contextmanager
def _interrupted_by(stop: asyncio.Event) -> Iterator[None]:
    """Ctrl-C ends the load and not the report."""
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGINT, stop.set)
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGINT)


async def _tidy(settings: Settings) -> list[str]:
    """The tables of the load go; a note when they cannot."""
    try:
        async with asyncio.timeout(settings.hung_after):
            connection = await connect(settings)
            try:
                await connection.execute("DROP TABLE IF EXISTS drill_write, drill_counter")
            finally:
                await connection.close()
    except Exception as error:  # the report is worth more
        return [f"the tables drill_write and drill_counter are left in {settings.database}: {describe(error)}"]
    return []
