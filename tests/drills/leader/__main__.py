"""`python -m tests.drills.leader`: the table of all runs that were kept, also of those made in several pieces."""

from __future__ import annotations

from . import DETAILS
from .outcome import Outcome, table
from .rows import ROWS

if __name__ == "__main__":
    kept = [Outcome.kept(place) for place in sorted(DETAILS.glob("*.json"))]
    order = [row.name for row in ROWS]
    print(table(sorted(kept, key=lambda each: order.index(each.event))))
