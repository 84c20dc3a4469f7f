"""Limits of a drill, as given on the command line, and which of them were missed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .book import Stream
from .report import Report

if TYPE_CHECKING:
    from .timeline import Timeline


@dataclass(frozen=True)
class Limits:
    """None is no limit. `failed` counts what clients saw; `stall` is in seconds, `p99` of transactions too.

    `apart`: how far the share of an instance may be from an even one, as a part of that.
    """

    failed: int | None = None
    stall: float | None = None
    p99: float | None = None
    apart: float | None = None

    def missed(self, report: Report, timeline: Timeline) -> Iterator[str]:
        stall, p99 = report.tallies[Stream.TRANSACTIONS].stall, timeline.percentile(Stream.TRANSACTIONS, 99.0)
        if self.failed is not None and report.errors > self.failed:
            yield f"{report.errors} failed, and {self.failed} may"
        if self.stall is not None and stall > self.stall:
            yield f"the longest stall was {stall:.2f} s, and {self.stall:g} s are allowed"
        if self.p99 is not None and p99 > self.p99:
            yield f"one of 100 transactions took {p99 * 1000:.1f} ms or more, and {self.p99 * 1000:g} ms are allowed"
        if self.apart is not None and (off := apart(timeline)) > self.apart:
            yield f"an instance's share is {off:.0%} off an even one, and {self.apart:.0%} are allowed"


def apart(timeline: Timeline) -> float:
    """How far the share of the instance that is farthest off is from an even one, as a part of that."""
    counts = timeline.balance().values()
    if not counts:
        return 0.0
    even = sum(counts) / len(counts)
    return max(abs(count - even) for count in counts) / even
