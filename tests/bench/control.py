"""Three pooler hosts over ssh: certificates, the function in the database, the pooler; beside a playbook by hand."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import statistics
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from tests.aws import collections
from tests.drills import fleet
from tests.drills.figures import Figure
from tests.drills.fleet import Fleet, Play

from . import debs

ROUNDS = 5
POOLERS, BY_HAND = ("pool1", "pool2", "pool3"), ("hand1", "hand2", "hand3")
NAME = "bench"
LAB = {
    "name": NAME,
    "subnet": "10.89.101.0/24",
    "hosts": {
        "db1": {"groups": ["database"], "images": ["etcd", "spilo"]},
        **{name: {"groups": ["pooler"], "images": ["pooler"]} for name in POOLERS},
        **{name: {"groups": ["by_hand"], "images": []} for name in BY_HAND},
    },
}
_PLAYBOOK = Path(__file__).with_name("by_hand") / "pooler.yml"

# What the playbook by hand does, by ours: site.yml without the image and without PostgreSQL itself.
_OURS = """\
- hosts: database
  gather_facts: false
  tasks:
    - ansible.builtin.import_role:
        name: pgfleet.pooler.auth_query
        rolespec_validate: false
- hosts: pooler
  gather_facts: false
  tasks:
    - ansible.builtin.import_role:
        name: pgfleet.pooler.certificates
        tasks_from: options
    - ansible.builtin.import_role:
        name: pgfleet.pooler.pgbouncer
        rolespec_validate: false
      vars:
        certificates_leaves:
          - directory: /etc/pgbouncer/tls/server
          - directory: /etc/pgbouncer/tls/client
        pgbouncer_certificates: "{{ certificates_options }}"
"""
# What Ansible costs before it does anything.
_START = """\
- hosts: pooler
  gather_facts: false
"""
_RAW = """\
- hosts: pooler
  gather_facts: false
  tasks:
"""
_TASK = "    - ansible.builtin.raw: 'true'\n"
_GONE = "rm -rf /etc/pgbouncer/tls"
_PURGED = """
export DEBIAN_FRONTEND=noninteractive
systemctl disable --now pgbouncer@50001 pgbouncer@50002 2>/dev/null || :
apt-get purge --quiet=2 --yes --autoremove pgbouncer python3-cryptography python3-psycopg2 >/dev/null 2>&1
rm -rf /etc/pgbouncer /etc/systemd/system/pgbouncer@.service
systemctl daemon-reload
"""
_SUPERUSER = """
podman exec -i spilo psql -X -q -v ON_ERROR_STOP=1 -h /var/run/postgresql -U postgres <<'EOF'
CREATE ROLE dba SUPERUSER LOGIN PASSWORD '{password}';
EOF
"""

_Each = TypeVar("_Each")


@dataclass(frozen=True)
class Way:
    """One way to a pooler. `bare`: back to hosts on which nothing of it is."""

    fleet: Fleet
    playbook: str
    bare: Callable[[], None]

    def play(self, pool_size: int, *flags: str, limit: str = "all") -> Play:
        sizes = [{"name": "app", "pool_size": pool_size}]
        play = self.fleet.play(self.playbook, {"pgbouncer_databases": sizes, "databases": sizes}, limit, flags=flags)
        if play.status:
            raise SystemExit(f"the playbook failed:\n{play.output[-4000:]}")
        return play


def run(booted: Fleet) -> list[Figure]:
    for name in ("community.crypto", "community.postgresql"):
        collections.link(name=name)
    ours = Way(booted, _OURS, lambda: _bare(booted))
    by_hand = _by_hand(booted)
    phases: dict[str, tuple[int, dict[str, list[Play]]]] = {
        "first converge": (5, {"ours": [], "by hand": []}),
        "no-op": (10, {"ours": [], "by hand": []}),
        "one pool size": (8, {"ours": [], "by hand": []}),
    }
    starts, counted = [], []
    for number in range(ROUNDS):
        began = time.monotonic()
        _at_once(lambda way: way.bare(), (ours, by_hand))
        # Counting costs a hundredth, so that it is done in the first round alone.
        with _counting(booted.paths.directory) if number == 0 else contextlib.nullcontext() as trips:
            for name, way in (("ours", ours), ("by hand", by_hand)):
                for (what, (_goal, plays)), size in zip(phases.items(), (10, 10, 20 + number), strict=True):
                    plays[name].append(way.play(size))
                    if trips:
                        counted += _counted(what, name, plays[name][-1], trips())
        starts.append(booted.play(_START, {}))
        print(f"round {number + 1} of {ROUNDS}: {time.monotonic() - began:.0f} s", flush=True)
    figures = []
    for what, (goal, plays) in phases.items():
        figures += _compared(what, goal, plays["ours"], plays["by hand"], starts)
    return [*figures, *_start(starts), *counted, *_to_the_limit(ours)]


def address(booted: Fleet, host: str) -> str:
    return booted.sh("db1", f"getent hosts {host}").split()[0]


def _compared(what: str, goal: int, ours: list[Play], by_hand: list[Play], starts: list[Play]) -> list[Figure]:
    above = [
        (theirs.cpu - start.cpu) / max(own.cpu - start.cpu, 0.01)
        for own, theirs, start in zip(ours, by_hand, starts, strict=True)
    ]
    cpu = [theirs.cpu / own.cpu for own, theirs in zip(ours, by_hand, strict=True)]
    wall = [theirs.seconds / own.seconds for own, theirs in zip(ours, by_hand, strict=True)]
    return [
        Figure(f"{what}: controller CPU, by hand to ours", statistics.median(cpu), "times", least=goal),
        Figure(f"{what}: wall, by hand to ours", statistics.median(wall), "times", least=goal),
        Figure(f"{what}: controller CPU above Ansible's start, by hand to ours", statistics.median(above), "times"),
        Figure(f"{what}: controller CPU, ours", _median(play.cpu for play in ours), "s"),
        Figure(f"{what}: controller CPU, by hand", _median(play.cpu for play in by_hand), "s"),
        Figure(f"{what}: wall, ours", _median(play.seconds for play in ours), "s"),
        Figure(f"{what}: wall, by hand", _median(play.seconds for play in by_hand), "s"),
    ]


def _start(starts: list[Play]) -> list[Figure]:
    return [
        Figure("Ansible's start, no task: controller CPU", _median(play.cpu for play in starts), "s"),
        Figure("Ansible's start, no task: wall", _median(play.seconds for play in starts), "s"),
    ]


def _counted(what: str, way: str, play: Play, trips: int) -> list[Figure]:
    tasks = len(re.findall(r"^(?:TASK|RUNNING HANDLER) \[", play.output, re.MULTILINE))
    return [Figure(f"{what}: tasks, {way}", tasks, ""), Figure(f"{what}: round trips, {way}", trips, "")]


@contextlib.contextmanager
def _counting(directory: Path) -> Iterator[Callable[[], int]]:
    """Ansible's ssh and what copies files for it note each start. Gives how often they did since it was last asked."""
    log = directory / "trips"
    log.touch()
    programs = {name: directory / f"counted-{name}" for name in ("ssh", "sftp", "scp")}
    for name, path in programs.items():
        path.write_text(f'#!/bin/sh\necho $# >> {log}\nexec {name} "$@"\n')
        path.chmod(0o755)
    variables = {f"ANSIBLE_{name.upper()}_EXECUTABLE": str(path) for name, path in programs.items()}

    def since() -> int:
        starts = log.read_text().splitlines()
        log.write_text("")
        # With two arguments Ansible asks once what this ssh can do; that goes nowhere.
        return sum(count != "2" for count in starts)

    os.environ.update(variables)
    try:
        yield since
    finally:
        for name in variables:
            del os.environ[name]


def _to_the_limit(ours: Way) -> list[Figure]:
    """A no-op of the role alone, on one host and on three, beside as many round trips that do nothing."""
    role = replace(ours, playbook=fleet.ROLE)
    size = 40
    role.play(size, limit="pooler")
    trips = role.play(size, "-vvv", limit="pool1").output.count("SSH: EXEC")
    walls: dict[str, list[float]] = {name: [] for name in ("1", "3", "raw", "ssh")}
    for _round in range(ROUNDS):
        walls["1"].append(role.play(size, limit="pool1").seconds)
        walls["3"].append(role.play(size, limit="pooler").seconds)
        walls["raw"].append(ours.fleet.play(_RAW + _TASK * trips, {}, "pooler").seconds)
        walls["ssh"].append(_ssh(ours.fleet, trips))
    three = walls["3"]
    ratio = {name: statistics.median(a / b for a, b in zip(three, walls[name], strict=True)) for name in walls}
    return [
        Figure("no-op of the role: round trips a host", trips, "", 1),
        Figure("no-op of the role: three hosts to one, wall", ratio["1"], "times", 1.5),
        Figure("no-op of the role: wall to as many tasks `raw: true`", ratio["raw"], "times", 2),
        Figure("no-op of the role: wall to as many bare ssh", ratio["ssh"], "times", 2),
        *(Figure(f"no-op of the role: wall, {name}", _median(walls[name]), "s") for name in walls),
    ]


def _ssh(booted: Fleet, trips: int) -> float:
    def once(host: str) -> None:
        for _trip in range(trips):
            command = ["ssh", "-F", str(booted.paths.ssh_config), host, "sudo", "true"]
            subprocess.run(command, stdin=subprocess.DEVNULL, check=True)

    began = time.monotonic()
    _at_once(once, POOLERS)
    return time.monotonic() - began


def _bare(booted: Fleet) -> None:
    removed = booted.role({"pgbouncer_state": "absent"})
    if removed.status:
        raise SystemExit(f"the role failed:\n{removed.output[-4000:]}")
    _at_once(lambda host: booted.sh(host, _GONE), POOLERS)


def _by_hand(booted: Fleet) -> Way:
    """Hosts with Python, packages to install, and a superuser who may come over the network."""
    place = debs.directory()
    for host in BY_HAND:
        command = ["tar", "-C", str(place.parent), "-cf", "-", place.name]
        into = ["ssh", "-F", str(booted.paths.ssh_config), host, "sudo", "tar", "-xf", "-", "-C", "/srv"]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as tar:
            subprocess.run(into, stdin=tar.stdout, check=True)
        booted.sh(host, debs.prepared())
    password, asker = (secrets.token_hex(16) for _ in range(2))
    booted.sh("db1", _SUPERUSER.format(password=password))
    pki = booted.paths.directory / "by-hand"
    variables = {
        "pki": str(pki),
        "server": address(booted, "db1"),
        "superuser": "dba",
        "superuser_password": password,
        "asker_password": asker,
    }

    def bare() -> None:
        for file in pki.glob("*"):
            file.unlink()
        _at_once(lambda host: booted.sh(host, _PURGED), BY_HAND)

    return Way(replace(booted, variables=variables), str(_PLAYBOOK), bare)


def _at_once(do: Callable[[_Each], object], on: Iterable[_Each]) -> None:
    with ThreadPoolExecutor() as threads:
        list(threads.map(do, on))


def _median(values: Iterable[float]) -> float:
    return statistics.median(values)
