"""Which writes were acknowledged, and what the table says of them afterwards."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Verdict:
    """`unknown`: writes whose client got no answer to its commit; `unknown_committed`: those of them in the table.

    `ambiguous`: commits that were sent and not acknowledged, so that the client cannot know what became of them.
    """

    acknowledged: int
    lost: int
    doubled: int
    unknown: int
    unknown_committed: int
    ambiguous: int = 0


class Ledger:
    """Each write has a number of its own, drawn before it is sent. A write that was never answered stays unknown.

    Counters are for updates: one a client, raised by one each time.
    """

    def __init__(self) -> None:
        self._numbers = itertools.count(1)
        self._unknown: set[int] = set()
        self._acknowledged: set[int] = set()
        self._raised: Counter[int] = Counter()
        self._maybe_raised: Counter[int] = Counter()
        self._commits = 0

    def draw(self) -> int:
        """The number of the next write, which is unknown until it is acknowledged."""
        number = next(self._numbers)
        self._unknown.add(number)
        return number

    def acknowledge(self, number: int) -> None:
        self._unknown.remove(number)
        self._acknowledged.add(number)

    def raising(self, client: int) -> None:
        """The client is about to raise its counter."""
        self._maybe_raised[client] += 1

    def raised(self, client: int) -> None:
        self._maybe_raised[client] -= 1
        self._raised[client] += 1

    def committing(self) -> None:
        """A commit, or a statement that is a transaction of its own, is about to be sent."""
        self._commits += 1

    def committed(self) -> None:
        self._commits -= 1

    def compare(self, numbers: Iterable[int], counters: dict[int, int]) -> Verdict:
        """Against the table: the numbers in it, as often as they are there, and each client's counter."""
        found = Counter(numbers)
        clients = {*counters, *self._raised, *self._maybe_raised}
        missing = sum(max(0, self._raised[client] - counters.get(client, 0)) for client in clients)
        surplus = {client: max(0, counters.get(client, 0) - self._raised[client]) for client in clients}
        return Verdict(
            acknowledged=len(self._acknowledged) + self._raised.total(),
            lost=sum(number not in found for number in self._acknowledged) + missing,
            doubled=sum(count - 1 for count in found.values())
            + sum(max(0, surplus[client] - self._maybe_raised[client]) for client in clients),
            unknown=len(self._unknown) + self._maybe_raised.total(),
            unknown_committed=sum(number in found for number in self._unknown)
            + sum(min(surplus[client], self._maybe_raised[client]) for client in clients),
            ambiguous=self._commits,
        )
