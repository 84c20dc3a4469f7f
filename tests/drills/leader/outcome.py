"""What one run of an event came to, and the table of all runs."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from pooler.drill.book import Stream
from pooler.drill.report import Report


@dataclass(frozen=True)
class Outcome:
    """Of one design in one run. `at`: seconds from the beginning of the report to the event; `floor` in seconds.

    `late`: for how many seconds the old leader acknowledged writes beside the new one, if that is known.
    `extra`: what the event itself measured. `wrong`: what went otherwise than the event wanted it.
    """

    event: str
    design: str
    report: Report
    at: float
    floor: float | None
    late: float | None
    extra: dict[str, float]
    wrong: list[str]

    @property
    def failed(self) -> int:
        return self.report.errors

    @property
    def lost(self) -> int:
        return self.report.verdict.lost

    @property
    def stall(self) -> float:
        return self.report.tallies[Stream.TRANSACTIONS].stall

    @property
    def wait(self) -> float:
        """The longest time without a success of any one client, in seconds."""
        return self.report.tallies[Stream.TRANSACTIONS].alone

    @property
    def beyond(self) -> float:
        """How much longer than its floor the stall was."""
        return self.stall - (self.floor or 0.0)

    @property
    def healed(self) -> float:
        """Seconds from the event to the last error; 0 without one."""
        return max(0.0, (self.report.last_error or 0.0) - self.at)

    def keep(self, place: Path) -> None:
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")

    @classmethod
    def kept(cls, place: Path) -> Outcome:
        """What `keep` wrote."""
        data = json.loads(place.read_text(encoding="utf-8"))
        return cls(**{**data, "report": Report.from_data(data["report"])})

    def line(self) -> str:
        floor = "" if self.floor is None else f", floor {self.floor:.2f} s"
        verdict, extra = self.report.verdict, "".join(f", {name} {value:.2f}" for name, value in self.extra.items())
        done = self.report.tallies[Stream.TRANSACTIONS].succeeded
        return (
            f"{self.event}, {self.design}: {self.failed} failed of {done + self.failed}, {len(self.report.hits)} hit, "
            f"{verdict.lost} lost, {verdict.ambiguous} ambiguous, stall {self.stall:.2f} s{floor}, "
            f"longest wait {self.wait:.2f} s, "
            f"last error after {self.healed:.2f} s{extra}"
        )

    def examples(self) -> Iterable[str]:
        """Some words of what went wrong."""
        for stream, tally in self.report.tallies.items():
            for kind, failures in tally.failures.items():
                first = failures.examples[0]
                yield f"{stream}: {failures.count} {kind}, at {first.at - self.at:+.2f} s {first.message}"
        if self.report.closed:
            first_closed = self.report.closed[0]
            where = f"{first_closed.at - self.at:+.2f} s {first_closed.message}"
            yield f"{len(self.report.closed)} closed between transactions, at {where}"
        yield from self.wrong


COLUMNS = ("event", "design", "runs", "failed", "hit", "lost", "ambiguous", "stall s", "longest wait s", "floor s")


def table(outcomes: Sequence[Outcome]) -> str:
    """One row for each event and design: median (least to most) of the runs; lost and ambiguous are sums."""
    rows = [COLUMNS]
    for event, design in dict.fromkeys((each.event, each.design) for each in outcomes):
        runs = [each for each in outcomes if (each.event, each.design) == (event, design)]
        floors = [each.floor for each in runs if each.floor is not None]
        rows.append(
            (
                event,
                design,
                str(len(runs)),
                _range([each.failed for each in runs]),
                _range([len(each.report.hits) for each in runs]),
                str(sum(each.lost for each in runs)),
                str(sum(each.report.verdict.ambiguous for each in runs)),
                _range([each.stall for each in runs], 2),
                _range([each.wait for each in runs], 2),
                _range(floors, 2) if floors else "",
            )
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(COLUMNS))]
    return "\n".join(
        "  ".join(
            text.ljust(width) if place < 2 else text.rjust(width)
            for place, (text, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )


def _range(values: Sequence[float], digits: int = 0) -> str:
    middle, least, most = statistics.median(values), min(values), max(values)
    if least == most:
        return f"{middle:.{digits}f}"
    return f"{middle:.{digits}f} ({least:.{digits}f}-{most:.{digits}f})"
