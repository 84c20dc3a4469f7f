"""What our design must reach in each event."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from tests.drills.figures import Figure

from .outcome import Outcome
from .rows import Row
from .scene import OURS


def figures(row: Row, outcomes: Sequence[Outcome], *, timed: bool = True) -> list[Figure]:
    """Goals are ours alone. Without `timed` there are none that a busy machine could miss.

    How many workers have a transaction under way when the leader goes is one of those: the slower, the more.
    """
    ours = [each for each in outcomes if (each.event, each.design) == (row.name, OURS)]
    if not ours:
        return []
    name = row.name
    found = [
        Figure(f"{name}: lost", sum(each.lost for each in ours), "", 0),
        Figure(
            f"{name}: most errors of one worker",
            max(max(each.report.hits.values(), default=0) for each in ours),
            "",
            row.each,
        ),
        Figure(
            f"{name}: errors, median run",
            statistics.median(each.failed for each in ours),
            "",
            row.middle if timed else None,
        ),
        Figure(f"{name}: clients that came back too late", sum(len(each.wrong) for each in ours), "", 0),
    ]
    slowest = max(ours, key=lambda each: each.beyond)
    goal = None if row.beyond is None or not timed else (slowest.floor or 0.0) + row.beyond
    found.append(Figure(f"{name}: longest stall over its floor", slowest.stall, "s", goal, slowest.floor))
    late = [each.late for each in ours if each.late is not None]
    if late and row.work == "write":
        found.append(Figure(f"{name}: writes to the old leader beside the new one", max(0.0, *late), "s", 0))
    if row.wait is not None:
        found.append(Figure(f"{name}: longest wait of a client", max(each.wait for each in ours), "s", row.wait))
    if row.healed is not None:
        healed = max(each.healed for each in ours)
        found.append(Figure(f"{name}: last error after", healed, "s", row.healed if timed else None))
    return found
