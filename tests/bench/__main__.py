"""`python -m tests.bench [--only NAME]`: measure, print the tables, keep them as JSON; exit 1 when a goal is missed."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from tests.drills.figures import Figure, table, write

from . import scale

BENCHES: Mapping[str, Callable[[], Sequence[Figure]]] = {"scale": scale.run}
RESULTS = Path("build/bench")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench")
    parser.add_argument("--only", choices=list(BENCHES), help="one instead of all")
    only = parser.parse_args().only
    print(json.dumps(machine()))
    missed = 0
    for name in [only] if only else BENCHES:
        began = time.monotonic()
        figures = BENCHES[name]()
        print(f"\n{name}, {time.monotonic() - began:.0f} s\n{table(figures)}", flush=True)
        write(RESULTS / f"{name}.json", figures)
        missed += sum(not figure.reached for figure in figures)
    (RESULTS / "machine.json").write_text(json.dumps(machine()) + "\n", encoding="utf-8")
    print(f"\n{missed} figures fell short of their goals" if missed else "\nall goals reached")
    return 1 if missed else 0


def machine() -> dict[str, object]:
    """What the figures were measured on, and how busy it was."""
    model = [line.partition(": ")[2] for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line]
    memory = Path("/proc/meminfo").read_text().split()[1]
    return {
        "processors": len(os.sched_getaffinity(0)),
        "model": model[0] if model else platform.machine(),
        "memory GiB": round(int(memory) / 2**20),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "load": os.getloadavg(),
    }


if __name__ == "__main__":
    sys.exit(main())
