"""What an exercise has found, for people and as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field

from .book import Stream
from .failures import Kind
from .happenings import LOAD
from .report import Report
from .timeline import PERCENTILES, Timeline, shares


@dataclass(frozen=True)
class Found:
    """Times are in seconds since every client was warm. `noticed` is the first sign of the event, or empty.

    `back`: whether every client worked again at the end. `leaders`: when Patroni named whom. `notes` are for people.
    `missed` are the limits that were, in words.
    """

    event: str
    workers: int
    report: Report
    noticed: str
    back: bool
    leaders: Sequence[tuple[float, str]] = ()
    notes: Sequence[str] = ()
    timeline: Timeline = field(default_factory=Timeline)
    missed: Sequence[str] = ()

    @property
    def failed(self) -> int:
        return self.report.errors

    @property
    def hung(self) -> int:
        """Those of the failed that got no answer at all."""
        tallies = self.report.tallies
        streams = [tallies[stream].failures.get(Kind.HUNG) for stream in (Stream.TRANSACTIONS, Stream.LOGINS)]
        return sum(failures.count for failures in streams if failures)

    @property
    def well(self) -> bool:
        return self.back and not self.missed and not self.report.verdict.lost and not self.report.verdict.doubled

    def percentiles(self, stream: Stream) -> dict[str, float]:
        """In milliseconds, by name; nothing when there was nothing."""
        if not self.timeline.count(stream):
            return {}
        return {
            f"p{percentile:g}": round(self.timeline.percentile(stream, percentile) * 1000, 3)
            for percentile in PERCENTILES
        }

    def to_json(self) -> str:
        """One line."""
        tally, verdict = self.report.tallies[Stream.TRANSACTIONS], self.report.verdict
        said = {
            "event": self.event,
            "noticed": self.noticed,
            "workers": self.workers,
            "done": tally.succeeded,
            "failed": self.failed,
            "hung": self.hung,
            "hit": len(self.report.hits),
            "lost": verdict.lost,
            "doubled": verdict.doubled,
            "ambiguous": verdict.ambiguous,
            "stall": round(tally.stall, 3),
            "longest_wait": round(tally.alone, 3),
            "back": self.back,
            "leaders": [{"at": round(at, 3), "leader": leader} for at, leader in self.leaders],
            "notes": list(self.notes),
            "missed": list(self.missed),
            "milliseconds": {stream: self.percentiles(stream) for stream in (Stream.TRANSACTIONS, Stream.LOGINS)},
            "balance": dict(shares(self.timeline.balance())),
            "failures": {
                f"{stream}: {kind}": asdict(failures)
                for stream, its in self.report.tallies.items()
                for kind, failures in its.failures.items()
            },
        }
        return json.dumps(said)

    def text(self) -> str:
        tally, verdict = self.report.tallies[Stream.TRANSACTIONS], self.report.verdict
        lines = [
            f"{self.event}: {self.noticed or 'nothing was noticed'}" if self.event != LOAD else f"{self.event}:",
            f"  {self.failed} of {tally.succeeded + self.failed} transactions failed, {self.hung} of them hung; "
            f"{len(self.report.hits)} of {self.workers} clients saw an error",
            f"  {verdict.lost} lost, {verdict.ambiguous} ambiguous (a commit without an answer)",
            f"  stall {tally.stall:.2f} s (nobody had a success), longest wait of one client {tally.alone:.2f} s",
        ]
        for stream in (Stream.TRANSACTIONS, Stream.LOGINS):
            if found := self.percentiles(stream):
                lines.append(f"  {stream}: " + ", ".join(f"{name} {value:.1f} ms" for name, value in found.items()))
        if balance := shares(self.timeline.balance()):
            lines.append("  balance: " + ", ".join(f"{name} {share:.1%}" for name, share in balance))
        lines += [f"  Patroni named {leader} at {at:.1f} s" for at, leader in self.leaders]
        for stream, its in self.report.tallies.items():
            for kind, failures in its.failures.items():
                example = failures.examples[0]
                lines.append(f"  {stream}: {failures.count} {kind}, first at {example.at:.1f} s: {example.message}")
        if self.report.closed:
            first = self.report.closed[0]
            closed = f"{len(self.report.closed)} connections closed between transactions"
            lines.append(f"  {closed}, first at {first.at:.1f} s: {first.message}")
        if not self.back:
            lines.append("  NOT EVERY CLIENT WORKS AGAIN")
        lines += [f"  MISSED: {each}" for each in self.missed]
        return "\n".join([*lines, *(f"  {note}" for note in self.notes)])
