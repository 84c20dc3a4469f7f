"""What panels and alerts ask of a running fleet, and each alert by its trouble, caused for real."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from tests.drills import fleet
from tests.drills.figures import Figure

from . import panels
from .asked import ALERTMANAGER, Monitoring
from .scene import FIRST, LAB, POOLER, SECOND, VARIABLES, Scene
from .troubles import CASES, Case, instance_frozen, instance_stopped

_PATIENCE = 180.0
"""Seconds after which an alert does not come, or does not go, any more. Replay has to be 30 s behind."""


def run(short: bool, runs: int = 1, events: Sequence[str] = ()) -> list[Figure]:
    """`events`: alerts instead of all, `queries`, `harm`, `logins`, `exporter`, `removal`. It has no short form."""
    figures: list[Figure] = []
    for _ in range(runs):
        with fleet.booted(LAB, VARIABLES) as booted:
            scene = Scene(booted, Monitoring(booted.paths.lab, "mon1"))
            figures += rows(scene, events)
    return figures


def rows(scene: Scene, events: Sequence[str]) -> list[Figure]:
    """Of a fleet that is up, and after the last of them is no more."""
    parts: dict[str, Callable[[Scene], list[Figure]]] = {
        "queries": _queries,
        "harm": _harmed,
        "logins": _refused,
        **{case.alert: partial(_case, case=case) for case in CASES},
        "EngineVulnerable": _vulnerable,
        "exporter": _as_debians_exporter,
        "removal": _removed,
    }
    figures: list[Figure] = []
    for name, part in parts.items():
        if not events or name in events:
            print(name, file=sys.stderr, flush=True)
            figures += part(scene)
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


def _harmed(scene: Scene) -> list[Figure]:
    """One that is dead, one that hangs: Prometheus has the rest in time, and is told what is missing."""
    figures = []
    for words, why, harm in (
        ("hangs", '=~"no answer.*"', instance_frozen),
        ("is dead", '!~"no answer.*"', instance_stopped),
    ):
        told = f'pgfleet_scrape_missing{{instance="{POOLER}:{SECOND}", what="CONSOLE", why{why}}}'
        with harm(scene):
            missing = scene.monitoring.until(told, answers=True, seconds=_PATIENCE)
            up, took = scene.monitoring.ask(
                [f'pgbouncer_up{{instance="{POOLER}:{FIRST}"}} == 1', 'scrape_duration_seconds{job="pgbouncer"}']
            )
        if missing is None or not up or not took:
            scene.wrong.append(f"an instance {words}: told after {missing} s, the other is up: {bool(up)}")
        figures.append(Figure(f"a scrape while an instance {words}", took[0].value if took else _PATIENCE, "s", 3))
    return figures


def _refused(scene: Scene) -> list[Figure]:
    """Through systemd, the journal and the agent to Prometheus."""
    scene.fleet.sh(
        POOLER,
        f"for each in 1 2 3; do podman exec -e PGPASSWORD=wrong -e PGSSLMODE=require pgbouncer-{FIRST} psql -X -c '' "
        f"'host=127.0.0.1 port={FIRST} user=app dbname=app' 2>/dev/null || :; done",
    )
    counted = f'pgfleet_instance_failed_logins_total{{instance="{POOLER}:{FIRST}", reason="password"}} == 3'
    return [_seconds("3 refused logins: told after", scene.monitoring.until(counted, answers=True, seconds=_PATIENCE))]


def _case(scene: Scene, case: Case) -> list[Figure]:
    """Fires in Prometheus and is told to Alertmanager; then goes."""
    firing = [
        f'ALERTS{{alertname="{case.alert}", alertstate="firing"{f", {each}" if each else ""}}}'
        for each in case.selectors
    ]
    with case.trouble(scene):
        fired = _all(scene, firing, answers=True)
        told = fired is not None and _told(scene, case.alert)
    gone = _all(scene, firing, answers=False)
    if fired is None or not told or gone is None:
        scene.wrong.append(f"{case.alert}: fired after {fired} s, Alertmanager was told: {told}, gone after {gone} s")
    return [
        _seconds(f"{case.alert}, {case.words}: fires after", fired),
        _seconds(f"{case.alert}: gone after", gone),
    ]


def _all(scene: Scene, queries: Sequence[str], *, answers: bool) -> float | None:
    """Seconds until every query has an answer, or none any more."""
    began = time.monotonic()
    for query in queries:
        if scene.monitoring.until(query, answers=answers, seconds=_PATIENCE) is None:
            scene.wrong.append(f"{query}: {'no answer comes' if answers else 'does not go'}")
            return None
    return time.monotonic() - began


def _told(scene: Scene, alert: str) -> bool:
    return scene.monitoring.until(f"{ALERTMANAGER}{alert}", answers=True, seconds=_PATIENCE) is not None


def _vulnerable(scene: Scene) -> list[Figure]:
    """It is there from the beginning, and goes with its instance: an engine without known holes cannot be had."""
    firing = f'ALERTS{{alertname="EngineVulnerable", instance="{POOLER}:{SECOND}", alertstate="firing"}}'
    fired = scene.monitoring.until(firing, answers=True, seconds=_PATIENCE)
    with instance_stopped(scene):
        gone = scene.monitoring.until(firing, answers=False, seconds=_PATIENCE)
    return [
        _seconds("EngineVulnerable, Debian's engine of today: fires after", fired),
        _seconds("EngineVulnerable, with its instance: gone after", gone),
    ]


def _seconds(what: str, seconds: float | None) -> Figure:
    return Figure(what, _PATIENCE if seconds is None else seconds, "s", _PATIENCE - 1)


def _as_debians_exporter(_scene: Scene) -> list[Figure]:
    """One instance, asked by both at once, and instances that are none: by the tests of every change of the metrics."""
    command = [sys.executable, "-m", "pytest", "-q", "tests/engine/test_metrics.py"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        print(done.stdout[-3000:], file=sys.stderr)
    return [Figure("comparisons with Debian's exporter, and scrapes of nonsense, that failed", done.returncode, "", 0)]


def _removed(scene: Scene) -> list[Figure]:
    """Everything, with its data: nothing of the roles is left on any host."""
    scene.play("pgfleet.pooler.remove", "all", remove_cluster=True, remove_data=True)
    left = [f"{host}: {what}" for host in LAB["hosts"] for what in scene.fleet.sh(host, _LEFT).split()]
    scene.wrong.extend(f"left on {each}" for each in left)
    return [Figure("files, directories and containers that remove.yml leaves", len(left), "", 0)]


_LEFT = """
podman ps --all --format '{{.Names}}'
for each in /etc/pgfleet /etc/pgbouncer /etc/containers/systemd /run/pgbouncer /var/lib/pgbouncer /var/lib/prometheus \\
  /var/lib/alertmanager /var/lib/grafana; do find "$each" -type f,l,s 2>/dev/null || :; done
find /etc/systemd/system -name 'pgbouncer*'
"""
