"""Figures of a drill: measured value, goal and floor beside each other; as a table and as JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True)
class Figure:
    """One measured value. `goal` is the most it may be; `floor` the least that is physically possible, if known.

    `least` is the least that a control must show. A figure without goal and `least` is shown for comparison and
    cannot fail.
    """

    what: str
    value: float
    unit: str
    goal: float | None = None
    floor: float | None = None
    least: float | None = None

    @property
    def reached(self) -> bool:
        return (self.goal is None or self.value <= self.goal) and (self.least is None or self.value >= self.least)

    @property
    def demand(self) -> str:
        """What it must be, or nothing."""
        if self.least is not None:
            return f">= {_number(self.least)}"
        return "" if self.goal is None else f"<= {_number(self.goal)}"


def table(figures: Sequence[Figure]) -> str:
    """Columns: what, measured, goal, floor, verdict."""
    rows = [("", "measured", "goal", "floor", "")]
    for figure in figures:
        floor = "" if figure.floor is None else _number(figure.floor)
        verdict = ("reached" if figure.reached else "MISSED") if figure.demand else ""
        rows.append((figure.what, f"{_number(figure.value)} {figure.unit}", figure.demand, floor, verdict))
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    return "\n".join(
        "  ".join(
            [row[0].ljust(widths[0]), *(text.rjust(width) for text, width in zip(row[1:], widths[1:], strict=True))]
        ).rstrip()
        for row in rows
    )


def write(path: Path, figures: Sequence[Figure]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [asdict(figure) | {"reached": figure.reached} for figure in figures]
    path.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


def _number(value: float) -> str:
    if math.isnan(value):
        return "none"
    return f"{value:.0f}" if value == int(value) or value >= 100 else f"{value:.2f}"
