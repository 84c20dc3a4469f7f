"""The agent at rest beside four instances: CPU and memory. Its floor is a process that wakes as often, for nothing."""

from __future__ import annotations

import contextlib
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.drills.figures import Figure
from tests.drills.fleet import Fleet

from . import usage

ROUNDS = 5
_SECONDS = 8
HOST = "pool3"
_SLEEPER = "import time\nwhile True:\n    time.sleep({seconds})"


def run(fleet: Fleet) -> list[Figure]:
    sized = fleet.role({"pgbouncer_instances": 4}, HOST)
    if sized.status:
        raise SystemExit(f"the role failed:\n{sized.output[-3000:]}")
    (agent,) = usage.unit(fleet.paths.lab, HOST, "pgbouncer-agent.service")
    wakes = _a_second(lambda: [usage.waits(agent)])[0]
    with _sleeper(fleet.paths.lab, 1 / wakes) as sleeper:
        # In the same seconds: on a machine that others share, a wake costs several times as much now and then.
        shares = [_a_second(lambda: [usage.cpu(agent), usage.cpu(sleeper)]) for _round in range(ROUNDS)]
    ours, floor = (statistics.median(each) * 100 for each in zip(*shares, strict=True))
    return [
        Figure("the agent at rest: CPU", ours, "% of a core", 1, floor=floor),
        Figure("the agent at rest: wakes", wakes, "a second"),
        Figure("the agent at rest: memory", usage.memory(agent), "MiB", 40),
    ]


def _a_second(count: Callable[[], list[float]]) -> list[float]:
    """By how much each count grows in a second."""
    began, before = time.monotonic(), count()
    time.sleep(_SECONDS)
    after, lasted = count(), time.monotonic() - began
    return [(now - then) / lasted for now, then in zip(after, before, strict=True)]


@contextlib.contextmanager
def _sleeper(lab: str, seconds: float) -> Iterator[Path]:
    """The group of a process that sleeps so long, again and again."""
    group = usage.new(lab, "sleeper")
    with subprocess.Popen([sys.executable, "-c", _SLEEPER.format(seconds=seconds)]) as process:
        try:
            (group / "cgroup.procs").write_text(str(process.pid))
            yield group
        finally:
            process.kill()
