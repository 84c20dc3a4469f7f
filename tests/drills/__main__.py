"""`python -m tests.drills [--only NAME] [--short]`: run drills, print their tables, exit 1 when a goal is missed."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from . import changes, drivers, leader, main_job, secrets, sizing, targets, tuning
from .figures import Figure, table, write
from .seeing import rows as seeing

DRILLS: Mapping[str, Callable[..., Sequence[Figure]]] = {
    "main": main_job.run,
    "changes": changes.run,
    "drivers": drivers.run,
    "leader": leader.run,
    "secrets": secrets.run,
    "seeing": seeing.run,
    "sizing": sizing.run,
    "targets": targets.run,
    "tuning": tuning.run,
}
LONG = ("drivers", "secrets", "seeing", "tuning")
"""Drills without a form for every test run."""

RESULTS = Path("build/drills")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.drills")
    parser.add_argument("--only", choices=sorted(DRILLS), help="one drill instead of all")
    parser.add_argument("--short", action="store_true", help="the form that every test run includes")
    parser.add_argument(
        "--runs",
        type=int,
        help="of each event, instead of 3, 5 (leader, tuning) or 1 (drivers, secrets, seeing, sizing, targets)",
    )
    parser.add_argument("--events", help="with commas between, instead of all of the drill")
    parsed = parser.parse_args()
    chosen = {} if parsed.runs is None else {"runs": parsed.runs}
    chosen |= {} if parsed.events is None else {"events": tuple(filter(None, parsed.events.split(",")))}
    missed = 0
    for name in [parsed.only] if parsed.only else sorted({*DRILLS} - {*(LONG if parsed.short else ())}):
        figures = DRILLS[name](parsed.short, **({} if name == "main" else chosen))
        print(f"\n{name}{' (short)' if parsed.short else ''}\n{table(figures)}", flush=True)
        write(RESULTS / f"{name}{'-short' if parsed.short else ''}.json", figures)
        missed += sum(not figure.reached for figure in figures)
    print(f"\n{missed} figures fell short of their goals" if missed else "\nall goals reached")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
