"""The bookkeeping of a run: successes, failures, closed connections, and the longest time without a success.

Times are seconds since the book was opened, by the clock it is given.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum

from .failures import Kind

EXAMPLES = 5
"""How many failures of a kind are kept with their time and words."""


class Stream(StrEnum):
    """What is counted apart. `LOGINS` are whole: connect, log in, one query. `KNOCKS` end at the first answer."""

    TRANSACTIONS = "transactions"
    LOGINS = "logins"
    KNOCKS = "knocks"


@dataclass(frozen=True)
class Example:
    at: float
    message: str


@dataclass
class Failures:
    count: int = 0
    examples: list[Example] = field(default_factory=list)

    def add(self, at: float, message: str) -> None:
        self.count += 1
        if len(self.examples) < EXAMPLES:
            self.examples.append(Example(at, message))


@dataclass
class Tally:
    """Of one stream. `stall`: the longest time in which nobody had a success; `alone`: the longest of one client."""

    succeeded: int = 0
    failures: dict[Kind, Failures] = field(default_factory=dict)
    slowest: float = 0.0
    stall: float = 0.0
    stall_ended: float = 0.0
    alone: float = 0.0
    last_failure: float | None = None

    @property
    def failed(self) -> int:
        return sum(failures.count for failures in self.failures.values())


@dataclass(frozen=True)
class Closed:
    """A persistent connection ended, at a time when its client had no transaction open.

    `spoke`: the client had just sent the first statement of its next one, and had no answer to it.
    """

    at: float
    spoke: bool
    message: str


@dataclass
class Served:
    """By one database server: how many transactions, and when the first and the last of them ended."""

    count: int
    first: float
    last: float


@dataclass(frozen=True)
class Mark:
    at: float
    what: str


class Book:
    """Clients tell it what befalls them. `began` is when it was opened, by its clock. `hits` are the errors that
    each worker saw; `served` is by address of the database server, where workers ask for it.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.began = clock()
        self.tallies = {stream: Tally() for stream in Stream}
        self.closed: list[Closed] = []
        self.marks: list[Mark] = []
        self.hits: Counter[int] = Counter()
        self.served: dict[str, Served] = {}
        self._last: dict[Stream, float] = {}
        self._last_of: dict[tuple[Stream, int], float] = {}

    def now(self) -> float:
        return self._clock() - self.began

    def join(self, stream: Stream, client: int) -> None:
        """A client takes part from now on: its silence counts."""
        self._last.setdefault(stream, self.now())
        self._last_of[stream, client] = self.now()

    def success(self, stream: Stream, client: int, took: float) -> None:
        """Also of a client that has not joined; its own silence is not watched."""
        now, tally = self.now(), self.tallies[stream]
        tally.succeeded += 1
        tally.slowest = max(tally.slowest, took)
        if (stream, client) in self._last_of:
            self._silence(stream, client, now)
            self._last[stream] = self._last_of[stream, client] = now

    def served_by(self, server: str) -> None:
        now = self.now()
        served = self.served.setdefault(server, Served(0, now, now))
        served.count += 1
        served.last = now

    def failure(self, stream: Stream, kind: Kind, message: str, client: int | None = None) -> None:
        """`client` is a worker that was hit by it."""
        if client is not None:
            self.hits[client] += 1
        now, tally = self.now(), self.tallies[stream]
        tally.failures.setdefault(kind, Failures()).add(now, message)
        tally.last_failure = now

    def connection_closed(self, message: str, client: int, *, spoke: bool) -> None:
        self.hits[client] += 1
        self.closed.append(Closed(self.now(), spoke, message))

    def mark(self, what: str) -> None:
        self.marks.append(Mark(self.now(), what))

    def silence(self, stream: Stream) -> float:
        """For how long nobody has had a success by now."""
        return self.now() - self._last.get(stream, self.now())

    def end(self) -> float:
        """The silence up to now counts as well. Gives the length of the run."""
        now = self.now()
        for stream, client in self._last_of:
            self._silence(stream, client, now)
        return now

    def _silence(self, stream: Stream, client: int, now: float) -> None:
        tally = self.tallies[stream]
        together = now - self._last[stream]
        if together > tally.stall:
            tally.stall, tally.stall_ended = together, now
        tally.alone = max(tally.alone, now - self._last_of[stream, client])
