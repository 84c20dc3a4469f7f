"""What a clock tells of who is a user, to somebody who is not let in."""

from __future__ import annotations

import statistics

from tests.drills.figures import Figure
from tests.engine.timing import timings

from .scene import Scene


def timing(_scene: Scene) -> list[Figure]:
    """Reported, without a goal: 50 % is no better than to guess. The fleet has no part in it."""
    return [
        figure
        for each in timings()
        for figure in (
            Figure(f"timing, {each.what}: a user, median", statistics.median(each.users), "ms"),
            Figure(f"timing, {each.what}: a stranger, median", statistics.median(each.strangers), "ms"),
            Figure(f"timing, {each.what}: pairs in which the stranger took longer", each.longer, "%"),
        )
    ]
