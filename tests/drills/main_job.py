"""What the main job costs: round trips and controller CPU of the pgbouncer role, and the time of `make demo`.

Peers, measured elsewhere on such a machine: 29 to 37 round trips and 11 to 15 CPU seconds a host for a run that
changes nothing.
"""

from __future__ import annotations

import os
import resource
import secrets
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

from tests.lab import images, life, spec
from tests.lab.state import Paths

from .figures import Figure

LAB = {
    "name": "drill-main",
    "subnet": "10.77.2.0/24",
    "hosts": {"db1": {"groups": ["database"]}, "pool1": {"groups": ["pooler"]}},
}
_PLAYBOOK = """\
- name: The pgbouncer role alone
  hosts: pooler
  gather_facts: false
  roles:
    - role: pgfleet.pooler.pgbouncer
"""


@dataclass(frozen=True)
class Cost:
    """Of one ansible-playbook: wall and CPU in seconds, CPU of the controller alone."""

    wall: float
    cpu: float
    trips: int


def run(short: bool) -> list[Figure]:
    lab = spec.parse(LAB)
    paths = Paths(lab.name)
    life.down(lab.name)
    life.up(lab)
    try:
        variables = _variables(paths)
        _play(paths, "pgfleet.pooler.site", variables)
        playbook = paths.directory / "pooler.yml"
        playbook.write_text(_PLAYBOOK)
        figures = _role(paths, str(playbook), variables, rounds=1 if short else 5, timed=not short)
    finally:
        life.down(lab.name)
    return figures if short else figures + _demo()


def _role(paths: Paths, playbook: str, variables: Mapping[str, object], rounds: int, *, timed: bool) -> list[Figure]:
    """Without `timed`, CPU and wall are shown and only the trips have goals: a test must not fail by a busy machine."""
    costs: dict[str, list[Cost]] = {"first converge": [], "no-op": [], "one pool size": []}
    for number in range(rounds):
        _play(paths, playbook, {**variables, "pgbouncer_state": "absent"})
        costs["first converge"].append(_play(paths, playbook, variables))
        costs["no-op"].append(_play(paths, playbook, variables))
        databases = [{"name": "app", "pool_size": 20 + number}]
        costs["one pool size"].append(_play(paths, playbook, {**variables, "pgbouncer_databases": databases}))
    floor = [_play(paths, playbook, variables, "--list-tasks") for _ in range(rounds)]
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


def _play(paths: Paths, playbook: str, variables: Mapping[str, object], *flags: str) -> Cost:
    """Run a playbook; trips are counted from what ssh is told to execute, not from what we say."""
    given = paths.directory / "variables.yml"
    given.touch(mode=0o600)
    given.write_text(yaml.safe_dump(dict(variables)))
    command = [
        "ansible-playbook",
        "-vvv",
        "--inventory",
        str(paths.inventory),
        "--extra-vars",
        f"@{given}",
        *flags,
        playbook,
    ]
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    wall, after = time.monotonic() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise SystemExit(f"{playbook} failed:\n{done.stdout[-4000:]}{done.stderr[-2000:]}")
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Cost(wall, cpu, done.stdout.count("SSH: EXEC"))


def _variables(paths: Paths) -> dict[str, object]:
    return {
        "pgbouncer_databases": [{"name": "app", "pool_size": 10}],
        "pgbouncer_patroni": ["https://10.77.2.11:8008"],
        "pgbouncer_nofile": 8192,
        "spilo_image": "localhost/lab/spilo-17:stand-in",
        "etcd_image": "localhost/lab/etcd:3.5",
        "image_archive": str(images.pooler.archive()),
        "certificates_authority_directory": str(paths.directory / "pki"),
        "certificates_passphrase": secrets.token_urlsafe(16),
    }


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
