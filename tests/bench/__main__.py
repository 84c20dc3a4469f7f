"""`python -m tests.bench [--only NAME]`: measure, print the tables, keep them as JSON; exit 1 when a goal is missed."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from tests.drills import fleet
from tests.drills.figures import Figure, table, write
from tests.drills.fleet import Fleet

from . import agent, control, data, scale, tuning

Benches = Mapping[str, Callable[[Fleet], Sequence[Figure]]]

ON_HOSTS: Benches = {
    "data": data.run,
}
"""Those that share a lab, in the order in which they leave it to each other."""
ON_THREE: Benches = {
    "control": control.run,
    "agent": agent.run,
}
"""The same, with three pooler hosts and as many for the playbook by hand."""
BY_NAME_ALONE = {"tuning": tuning.run}
"""What is not part of `make bench` by itself: it finds defaults instead of watching over them."""

SCALE = "scale"
RESULTS = Path("build/bench")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench")
    parser.add_argument("--only", choices=[SCALE, *ON_THREE, *ON_HOSTS, *BY_NAME_ALONE], help="one instead of all")
    only = parser.parse_args().only
    RESULTS.mkdir(parents=True, exist_ok=True)
    described = json.dumps(machine(), indent=1)
    (RESULTS / "machine.json").write_text(described + "\n", encoding="utf-8")
    print(described, flush=True)
    missed = _shown(SCALE, scale.run) if only in (None, SCALE) else 0
    on_hosts = ON_HOSTS if only is None else {**ON_HOSTS, **BY_NAME_ALONE}
    labs: Sequence[tuple[Mapping[str, Any], Mapping[str, Any], Benches]] = (
        (control.LAB, {}, ON_THREE),
        (data.LAB, {"spilo_max_connections": 500}, on_hosts),
    )
    for lab, variables, benches in labs:
        if chosen := [name for name in benches if only in (None, name)]:
            with fleet.booted(lab, variables) as booted:
                for name in chosen:
                    missed += _shown(name, partial(benches[name], booted))
    print(f"\n{missed} figures fell short of their goals" if missed else "\nall goals reached")
    return 1 if missed else 0


def _shown(name: str, bench: Callable[[], Sequence[Figure]]) -> int:
    """How many goals it missed."""
    began = time.monotonic()
    figures = bench()
    print(f"\n{name}, {time.monotonic() - began:.0f} s\n{table(figures)}", flush=True)
    write(RESULTS / f"{name}.json", figures)
    return sum(not figure.reached for figure in figures)


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
