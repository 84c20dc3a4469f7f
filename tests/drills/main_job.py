"""What the main job costs: round trips and controller CPU of the pgbouncer role, and the time of `make demo`.

Peers, measured elsewhere on such a machine: 29 to 37 round trips and 11 to 15 CPU seconds a host for a run that
changes nothing.
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from . import fleet
from .figures import Figure
from .fleet import Fleet

LAB = {
    "name": "drill-main",
    "subnet": "10.77.2.0/24",
    "hosts": {"db1": {"groups": ["database"]}, "pool1": {"groups": ["pooler"]}},
}


@dataclass(frozen=True)
class Cost:
    """Of one ansible-playbook: wall and CPU in seconds, CPU of the controller alone."""

    wall: float
    cpu: float
    trips: int


def run(short: bool) -> list[Figure]:
    with fleet.booted(LAB, {}) as booted:
        figures = _role(booted, rounds=1 if short else 5, timed=not short)
    return figures if short else figures + _demo()


def _role(booted: Fleet, rounds: int, *, timed: bool) -> list[Figure]:
    """Without `timed`, CPU and wall are shown and only the trips have goals: a test must not fail by a busy machine."""
    costs: dict[str, list[Cost]] = {"first converge": [], "no-op": [], "one pool size": []}
    for number in range(rounds):
        _cost(booted, {"pgbouncer_state": "absent"})
        costs["first converge"].append(_cost(booted, {}))
        costs["no-op"].append(_cost(booted, {}))
        costs["one pool size"].append(
            _cost(booted, {"pgbouncer_databases": [{"name": "app", "pool_size": 20 + number}]})
        )
    floor = [_cost(booted, {}, "--list-tasks") for _ in range(rounds)]
    goals = {"first converge": (3, None), "no-op": (2, 1.5), "one pool size": (3, 1.5)}
    figures = []
    for what, found in costs.items():
        trips, cpu = goals[what]
        cpu = cpu if timed else None
        figures += [
            Figure(f"{what}: round trips", max(cost.trips for cost in found), "", trips, 2 if what != "no-op" else 1),
            Figure(
                f"{what}: controller CPU", _median(cost.cpu for cost in found), "s", cpu, _median(c.cpu for c in floor)
            ),
            Figure(f"{what}: wall", _median(cost.wall for cost in found), "s", None, _median(c.wall for c in floor)),
        ]
    return figures


def _cost(booted: Fleet, changes: Mapping[str, object], *flags: str) -> Cost:
    """Of the role alone; trips are counted from what ssh is told to execute, not from what we say."""
    play = booted.play(fleet.ROLE, changes, flags=("-vvv", *flags))
    if play.status:
        raise SystemExit(f"the role failed:\n{play.output[-4000:]}")
    return Cost(play.seconds, play.cpu, play.output.count("SSH: EXEC"))


def _demo() -> list[Figure]:
    """`make demo` from a clone: with nothing cached, then again."""
    with tempfile.TemporaryDirectory(prefix="pgfleet-drill-") as temporary:
        clone, cache = Path(temporary, "pooler"), Path(temporary, "cache")
        subprocess.run(["git", "clone", "--quiet", ".", str(clone)], check=True)
        environment = os.environ | {"PGFLEET_CACHE": str(cache)}
        try:
            cold = _make(clone, environment, "demo")
            _make(clone, environment, "demo-down")
            warm = _make(clone, environment, "demo")
        finally:
            _make(clone, environment, "demo-down")
            shutil.rmtree(cache, ignore_errors=True)
    return [Figure("make demo, cold", cold, "s", 480), Figure("make demo, warm", warm, "s", 90)]


def _make(clone: Path, environment: Mapping[str, str], target: str) -> float:
    began = time.monotonic()
    print(f"make {target} …", file=sys.stderr, flush=True)
    done = subprocess.run(["make", target], cwd=clone, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"make {target} failed:\n{done.stdout[-4000:]}{done.stderr[-2000:]}")
    return time.monotonic() - began


def _median(values: Iterable[float]) -> float:
    return statistics.median(values)
