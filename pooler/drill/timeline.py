"""What befalls clients second by second, by instance, and how long it took: for plots, percentiles, the balance."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from hdrh.histogram import HdrHistogram

from .book import Stream

PERCENTILES = (50.0, 90.0, 99.0, 99.9, 100.0)

_MOST = 3_600_000_000
"""Microseconds: an hour."""

_DIGITS = 3


@dataclass
class Second:
    """Of transactions: how many were done, by instance, and failed; `slowest` in seconds; whole `logins`."""

    done: Counter[str] = field(default_factory=Counter)
    failed: int = 0
    slowest: float = 0.0
    logins: int = 0


class Timeline:
    """`seconds` from the beginning of the time that counts, without a gap."""

    def __init__(self) -> None:
        self.seconds: list[Second] = []
        self._took = {stream: HdrHistogram(1, _MOST, _DIGITS) for stream in Stream}

    def success(self, at: float, stream: Stream, took: float, where: str) -> None:
        """`where` is the instance that has served it, empty when that is not known."""
        self._took[stream].record_value(min(max(1, round(took * 1e6)), _MOST))
        second = self._at(at)
        if stream is Stream.TRANSACTIONS:
            second.done[where] += 1
            second.slowest = max(second.slowest, took)
        elif stream is Stream.LOGINS:
            second.logins += 1

    def failure(self, at: float) -> None:
        self._at(at).failed += 1

    def percentile(self, stream: Stream, percentile: float) -> float:
        """In seconds; 0 when there was none."""
        return float(self._took[stream].get_value_at_percentile(percentile)) / 1e6

    def count(self, stream: Stream) -> int:
        return int(self._took[stream].total_count)

    def balance(self, last: int | None = None) -> Counter[str]:
        """Transactions by instance, of so many seconds at the end or of all."""
        found = Counter[str]()
        for second in self.seconds[-last:] if last else self.seconds:
            found += second.done
        return found

    def _at(self, at: float) -> Second:
        while len(self.seconds) <= int(at):
            self.seconds.append(Second())
        return self.seconds[int(at)]


def shares(balance: Counter[str]) -> Sequence[tuple[str, float]]:
    """Each instance's part, by name."""
    everything = balance.total()
    return [(name, count / everything) for name, count in sorted(balance.items())]
