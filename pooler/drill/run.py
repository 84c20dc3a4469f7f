"""What all clients of a run share: its settings, its books, when it is warm and when it is over."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ..errors import PoolerError
from .book import Book, Stream
from .failures import Kind
from .ledger import Ledger
from .settings import Settings

if TYPE_CHECKING:
    from .timeline import Timeline


@dataclass
class Run:
    """Until every client had its first success, what befalls them goes into a book that nobody reads but `warm`.

    From then on it goes to the `timeline` as well, where somebody wants one.
    """

    settings: Settings
    ledger: Ledger = field(default_factory=Ledger)
    book: Book = field(default_factory=lambda: Book(time.monotonic))
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    timeline: Timeline | None = None
    _counts: bool = False
    _turns: Counter[Stream] = field(default_factory=Counter)
    _warm: asyncio.Event = field(default_factory=asyncio.Event)
    _cold: set[tuple[Stream, int]] = field(default_factory=set)
    _clients: list[tuple[Stream, int]] = field(default_factory=list)

    def join(self, stream: Stream, client: int) -> None:
        self._cold.add((stream, client))
        self.book.join(stream, client)

    def goes_on(self, stream: Stream) -> bool:
        """Asked before each turn of a client. One kind of clients that had all its turns ends the run."""
        self._turns[stream] += 1
        if self._turns[stream] > self.settings.most_turns:
            self.stop.set()
        return not self.stop.is_set()

    def success(self, stream: Stream, client: int, took: float, where: str = "") -> None:
        """`where` is the instance that has served it."""
        self.book.success(stream, client, took)
        if self._counts and self.timeline:
            self.timeline.success(self.book.now(), stream, took, where)
        self._cold.discard((stream, client))
        if not self._cold:
            self._warm.set()

    def failure(self, stream: Stream, kind: Kind, message: str, client: int | None = None) -> None:
        self.book.failure(stream, kind, message, client)
        self._failed()

    def connection_closed(self, message: str, client: int, *, spoke: bool) -> None:
        self.book.connection_closed(message, client, spoke=spoke)
        self._failed()

    async def warm(self) -> float:
        """Wait until every client had a success, then open the book that counts. Gives its time since the epoch.

        Raises PoolerError with some of the failures when that takes too long.
        """
        clients = self._clients = sorted(self._cold)
        try:
            async with asyncio.timeout(self.settings.warm_up):
                await self._warm.wait()
        except TimeoutError:
            raise PoolerError(
                f"{len(self._cold)} of {len(clients)} clients had no success in {self.settings.warm_up:.0f} s\n"
                + "\n".join(_examples(self.book))
            ) from None
        self.book = Book(time.monotonic)
        self._counts = True
        for stream, client in clients:
            self.book.join(stream, client)
        return time.time()

    async def again(self) -> bool:
        """Wait until every client has had a success from now on; False when that takes longer than warming up may."""
        self._warm.clear()
        self._cold = {*self._clients}
        try:
            async with asyncio.timeout(self.settings.warm_up):
                await self._warm.wait()
        except TimeoutError:
            return False
        return True

    async def rest(self, seconds: float) -> None:
        """Between two turns: never all clients at once."""
        await asyncio.sleep(seconds * random.uniform(0.5, 1.5))

    def _failed(self) -> None:
        if self._counts and self.timeline:
            self.timeline.failure(self.book.now())


def _examples(book: Book) -> list[str]:
    return [
        f"{stream}: {kind}: {failures.examples[0].message}"
        for stream, tally in book.tallies.items()
        for kind, failures in tally.failures.items()
    ]
