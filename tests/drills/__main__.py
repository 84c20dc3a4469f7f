"""`python -m tests.drills [--only NAME] [--short]`: run drills, print their tables, exit 1 when a goal is missed."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from . import changes, main_job
from .figures import Figure, table, write

DRILLS: Mapping[str, Callable[[bool], Sequence[Figure]]] = {"main": main_job.run, "changes": changes.run}
RESULTS = Path("build/drills")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.drills")
    parser.add_argument("--only", choices=sorted(DRILLS), help="one drill instead of all")
    parser.add_argument("--short", action="store_true", help="the form that every test run includes")
    parsed = parser.parse_args()
    missed = 0
    for name in [parsed.only] if parsed.only else sorted(DRILLS):
        figures = DRILLS[name](parsed.short)
        print(f"\n{name}{' (short)' if parsed.short else ''}\n{table(figures)}", flush=True)
        write(RESULTS / f"{name}{'-short' if parsed.short else ''}.json", figures)
        missed += sum(not figure.reached for figure in figures)
    print(f"\n{missed} figures fell short of their goals" if missed else "\nall goals reached")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
