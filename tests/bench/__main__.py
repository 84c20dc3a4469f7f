"""`python -m tests.bench`: measure, print the table, keep it as JSON; exit 1 when a goal is missed."""

from __future__ import annotations

import json
import os
import platform
import sys
from pathlib import Path

from tests.drills.figures import table, write

from . import scale

RESULTS = Path("build/bench")


def main() -> int:
    described = json.dumps(machine(), indent=1)
    print(described, flush=True)
    figures = scale.run()
    print(f"\n{table(figures)}")
    write(RESULTS / "scale.json", figures)
    (RESULTS / "machine.json").write_text(described + "\n", encoding="utf-8")
    missed = sum(not figure.reached for figure in figures)
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
