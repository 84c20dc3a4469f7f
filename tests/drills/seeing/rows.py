"""What panels and alerts ask of a running fleet, and each alert by its trouble, caused for real."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Mapping, Sequence

from tests.drills import fleet
from tests.drills.figures import Figure

from . import panels
from .asked import ALERTMANAGER, Monitoring
from .scene import FIRST, LAB, POOLER, SECOND, VARIABLES, Scene
from .troubles import TROUBLES

_PATIENCE = 180.0
"""Seconds after which an alert does not come, or does not go, any more. Replay has to be 30 s behind."""


def run(short: bool, runs: int = 1, events: Sequence[str] = ()) -> list[Figure]:
    """`events`: alerts instead of all, and `queries`, `exporter`. It has no short form."""
    figures: list[Figure] = []
    for _ in range(runs):
        with fleet.booted(LAB, VARIABLES) as booted:
            scene = Scene(booted, Monitoring(booted.paths.lab, "mon1"))
            figures += rows(scene, events)
    return figures


def rows(scene: Scene, events: Sequence[str]) -> list[Figure]:
    """Of a fleet that is up."""
    figures = _queries(scene) if not events or "queries" in events else []
    chosen = [alert for alert in TROUBLES if not events or alert in events]
    for alert in chosen:
        figures += _trouble(scene, alert)
    if not events or "EngineVulnerable" in events:
        figures += _vulnerable(scene)
    if not events or "exporter" in events:
        figures.append(_as_debians_exporter())
    for wrong in scene.wrong:
        print(f"  {wrong}", file=sys.stderr, flush=True)
    return [*figures, Figure("things that went otherwise than they should", len(scene.wrong), "", 0)]


def _queries(scene: Scene) -> list[Figure]:
    with scene.clients(4):
        scene.monitoring.until(
            'rate(pgbouncer_stats_queries_pooled_total{database="app"}[30s])', answers=True, seconds=60
        )
        return [
            _answered(scene, "queries of panels without an answer", panels.of_dashboards(f"{POOLER}:{FIRST}")),
            _answered(scene, "metrics of alerts without an answer", panels.of_alerts()),
        ]


def _answered(scene: Scene, what: str, queries: Mapping[str, str]) -> Figure:
    """A scrape may be late on a busy machine, so who is silent is asked again."""
    silent = dict(queries)
    ends = time.monotonic() + _PATIENCE
    while silent and time.monotonic() < ends:
        answers = scene.monitoring.ask(list(silent.values()))
        silent = {where: query for (where, query), found in zip(silent.items(), answers, strict=True) if not found}
    scene.wrong.extend(f"no answer to {where}: {query}" for where, query in silent.items())
    return Figure(what, len(silent), f"of {len(queries)}", 0)


def _trouble(scene: Scene, alert: str) -> list[Figure]:
    """Fires in Prometheus and is told to Alertmanager; then goes."""
    cause, words = TROUBLES[alert]
    firing = f'ALERTS{{alertname="{alert}", alertstate="firing"}}'
    print(f"{alert}: {words}", file=sys.stderr, flush=True)
    with cause(scene):
        fired = scene.monitoring.until(firing, answers=True, seconds=_PATIENCE)
        told = fired is not None and _told(scene, alert)
    gone = scene.monitoring.until(firing, answers=False, seconds=_PATIENCE)
    if fired is None or not told or gone is None:
        scene.wrong.append(f"{alert}: fired after {fired} s, Alertmanager was told: {told}, gone after {gone} s")
    return [
        _seconds(f"{alert}, {words}: fires after", fired),
        _seconds(f"{alert}: gone after", gone),
    ]


def _told(scene: Scene, alert: str) -> bool:
    return scene.monitoring.until(f"{ALERTMANAGER}{alert}", answers=True, seconds=_PATIENCE) is not None


def _vulnerable(scene: Scene) -> list[Figure]:
    """It is there from the beginning, and goes with its instance: an engine without known holes cannot be had."""
    firing = f'ALERTS{{alertname="EngineVulnerable", instance="{POOLER}:{SECOND}", alertstate="firing"}}'
    fired = scene.monitoring.until(firing, answers=True, seconds=_PATIENCE)
    stop, _words = TROUBLES["InstanceDown"]
    with stop(scene):
        gone = scene.monitoring.until(firing, answers=False, seconds=_PATIENCE)
    return [
        _seconds("EngineVulnerable, Debian's engine of today: fires after", fired),
        _seconds("EngineVulnerable, with its instance: gone after", gone),
    ]


def _seconds(what: str, seconds: float | None) -> Figure:
    return Figure(what, _PATIENCE if seconds is None else seconds, "s", _PATIENCE - 1)


def _as_debians_exporter() -> Figure:
    """One instance, asked by both at once, by the test that every change of the metrics goes through."""
    name = "test_every_value_is_the_one_that_debians_exporter_tells"
    command = [sys.executable, "-m", "pytest", "-q", "tests/engine/test_metrics.py", "-k", name]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        print(done.stdout[-3000:], file=sys.stderr)
    return Figure("comparisons with Debian's exporter that failed", done.returncode, "", 0)
