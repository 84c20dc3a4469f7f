"""What clients feel when the leader changes, dies or is out of reach: ours beside two other designs, same events.

The floor of each event is Patroni's and PostgreSQL's own time, seen from outside the poolers in the very same run.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path

from pooler.agent import decide
from tests.drills.figures import Figure
from tests.drills.fleet import Fleet
from tests.drills.together import loads

from . import scene
from .goals import figures
from .outcome import Outcome, table
from .rows import ROWS, SHORT, Row
from .watch import Watch

DETAILS = Path("build/drills/leader")


def run(short: bool, runs: int = 5, events: Sequence[str] = ()) -> list[Figure]:
    """`events` are slugs of rows, all when none is said. The short form is one run of two of them."""
    if unknown := {*events} - {row.slug for row in ROWS}:
        raise SystemExit(f"no such events: {', '.join(sorted(unknown))} (there are {', '.join(r.slug for r in ROWS)})")
    chosen = [row for row in ROWS if row.slug in events] if events else SHORT if short else ROWS
    outcomes: list[Outcome] = []
    with scene.stage() as (fleet, watch):
        for row in chosen:
            for number in range(1 if short else runs):
                began = time.monotonic()
                outcomes += one_run(fleet, watch, row, number + 1, short)
                if row.lost and not short:
                    # So often agents make clients wait, and not more often: the next loss is to find them willing.
                    time.sleep(max(0.0, began + 1.2 * decide.WINDOW / decide.PAUSES - time.monotonic()))
    print(f"\n{table(outcomes)}", flush=True)
    return [figure for row in chosen for figure in figures(row, outcomes, timed=not short)]


def one_run(fleet: Fleet, watch: Watch, row: Row, number: int, short: bool) -> list[Outcome]:
    """Load on every design of the row, the event, and what came of it, a line each on the terminal."""
    watch.until("the cluster is whole", Watch.whole)
    settings = {design: scene.settings(fleet, design, row.work) for design in row.designs}
    with loads(fleet.paths.lab, settings, behind={*row.designs} - {scene.OURS}) as running:
        now = scene.Scene(fleet, watch, running, short)
        began = time.monotonic()
        row.event(now)
        took = time.monotonic() - began
        reports = running.end()
    print(f"{row.name}, run {number}: {took:.0f} s", file=sys.stderr)
    outcomes = []
    for design, report in reports.items():
        ours = design == scene.OURS
        outcome = Outcome(
            row.name,
            design,
            report,
            at=now.at - report.began,
            floor=now.floor,
            late=now.late(report),
            extra=now.extra if ours else {},
            wrong=now.wrong if ours else [],
        )
        outcome.keep(DETAILS / f"{row.slug}-{number}-{design}.json")
        print(f"  {outcome.line()}", *outcome.examples(), sep="\n    ", file=sys.stderr, flush=True)
        outcomes.append(outcome)
    return outcomes
