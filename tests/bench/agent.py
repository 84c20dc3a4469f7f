"""The agent at rest beside four instances: CPU and memory."""

from __future__ import annotations

import statistics
import time
from pathlib import Path

from tests.drills.figures import Figure
from tests.drills.fleet import Fleet

from . import usage

ROUNDS = 5
_SECONDS = 8
HOST = "pool3"


def run(fleet: Fleet) -> list[Figure]:
    sized = fleet.role({"pgbouncer_instances": 4}, HOST)
    if sized.status:
        raise SystemExit(f"the role failed:\n{sized.output[-3000:]}")
    (group,) = usage.unit(fleet.paths.lab, HOST, "pgbouncer-agent.service")
    shares = [_share(group) for _round in range(ROUNDS)]
    return [
        Figure("the agent at rest: CPU", statistics.median(shares) * 100, "% of a core", 1),
        Figure("the agent at rest: memory", usage.memory(group), "MiB", 40),
    ]


def _share(group: Path) -> float:
    began, before = time.monotonic(), usage.cpu(group)
    time.sleep(_SECONDS)
    return (usage.cpu(group) - before) / (time.monotonic() - began)
