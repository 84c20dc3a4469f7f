"""Large fleets without a host: what one task of the module costs the controller, in time, memory and derivations."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

from tests.drills.figures import Figure

ROUNDS = 5
LARGE = {"databases": 1000, "users": 10_000, "rules": 200, "hosts": 1}
SMALL = {"databases": 20, "users": 100, "rules": 20}
FEW, MANY = 25, 200
PASSWORDS = 2000
"""Of the users of a large fleet; with more of them it only takes longer."""
NEW, KNOWN = f"{PASSWORDS:,} new passwords", f"no-op, {PASSWORDS:,} passwords"


def run() -> list[Figure]:
    """Rounds of all of them in turn, each in a process of its own; medians."""
    works: dict[str, dict[str, Any]] = {
        "bare host": LARGE | {"found": "bare"},
        "no-op": LARGE | {"found": "same"},
        "one pool size": LARGE | {"found": "size"},
        NEW: LARGE | {"found": "bare", "passwords": PASSWORDS},
        KNOWN: LARGE | {"found": "same", "passwords": PASSWORDS},
        f"{FEW} hosts": SMALL | {"found": "same", "hosts": FEW},
        f"{MANY} hosts": SMALL | {"found": "same", "hosts": MANY},
    }
    costs: dict[str, list[dict[str, float]]] = {name: [] for name in works}
    for _round in range(ROUNDS):
        for name, work in works.items():
            costs[name].append(_cost(work))
    figures = []
    for name in ("bare host", "no-op", "one pool size"):
        figures += [
            Figure(f"{name}: wall", _median(costs[name], "wall"), "s", 2),
            Figure(f"{name}: CPU", _median(costs[name], "cpu"), "s"),
            Figure(f"{name}: memory", _median(costs[name], "mib"), "MiB", 200),
            Figure(f"{name}: derivations", _median(costs[name], "derivations"), "", 0),
        ]
    cores = len(os.sched_getaffinity(0))
    for name in (NEW, KNOWN):
        used = statistics.median(cost["cpu"] / cost["wall"] for cost in costs[name])
        figures += [
            Figure(f"{name}: derivations", _median(costs[name], "derivations"), "", PASSWORDS),
            Figure(f"{name}: cores used", used, f"of {cores}", least=0.8 * cores),
            Figure(f"{name}: wall", _median(costs[name], "wall"), "s"),
        ]
    few, many = costs[f"{FEW} hosts"], costs[f"{MANY} hosts"]
    growth = [(m["cpu"] / MANY) / (f["cpu"] / FEW) for f, m in zip(few, many, strict=True)]
    return [
        *figures,
        Figure(f"CPU a host: {MANY} hosts to {FEW}", statistics.median(growth), "times", 1.2),
        Figure(f"{MANY} hosts: CPU a host", _median(many, "cpu") / MANY * 1000, "ms"),
        Figure(f"{MANY} hosts: memory", _median(many, "mib"), "MiB", 200),
    ]


def _cost(work: dict[str, Any]) -> dict[str, float]:
    command = [sys.executable, "-m", "tests.bench.work", json.dumps(work)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    cost: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return cost


def _median(costs: Sequence[dict[str, float]], what: str) -> float:
    return statistics.median(cost[what] for cost in costs)
