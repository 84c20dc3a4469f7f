"""Ways to PostgreSQL, and runs of a load on them: what was done, and what it cost whoever stands between."""

from __future__ import annotations

import json
import os
import re
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.drills.fleet import Fleet
from tests.lab import images, network

from . import usage

CLIENTS = 16
_PGBENCH = "/usr/lib/postgresql/17/bin/pgbench"
_POSTGRES = "101:103"
_FILES = 8000
"""Descriptors that a load may have open."""


@dataclass(frozen=True)
class Way:
    """Where clients connect, and the control groups of what serves them besides PostgreSQL."""

    host: str
    port: int
    groups: tuple[Path, ...]
    database: str = "app"


@dataclass(frozen=True)
class Run:
    """`cpu`: seconds of what stands between client and PostgreSQL, `server`: those of the database host's container."""

    done: int
    rate: float
    cpu: float
    server: float

    @property
    def each(self) -> float:
        """Microseconds of CPU for each."""
        return self.cpu / max(1, self.done) * 1e6

    @property
    def whole(self) -> float:
        """The same with PostgreSQL's."""
        return (self.cpu + self.server) / max(1, self.done) * 1e6


@dataclass(frozen=True)
class Scene:
    """Loads run in the lab's network. `server`: groups of PostgreSQL."""

    lab: str
    password: str = field(repr=False)
    server: tuple[Path, ...]

    @classmethod
    def of(cls, fleet: Fleet) -> Scene:
        return cls(fleet.paths.lab, fleet.password, tuple(usage.unit(fleet.paths.lab, "db1", "spilo.service")))

    def fill(self, way: Way) -> None:
        """pgbench's tables: 100,000 accounts."""
        done = self._pgbench(way, "-i", "-s", "1", "-q")
        if done.returncode:
            raise SystemExit(f"pgbench cannot fill the database: {done.stderr[-1000:]}")

    def pgbench(self, way: Way, *arguments: str, script: str = "") -> Run:
        """Nothing done when one of its clients fails. `script` is what `-f -` reads."""

        def load() -> tuple[int, float]:
            done = self._pgbench(way, "-n", *arguments, script=script)
            count = re.search(r"actually processed: (\d+)", done.stdout)
            rate = re.search(r"tps = ([0-9.]+)", done.stdout)
            if done.returncode or not count or not rate or "failed transactions: 0 " not in done.stdout:
                print(f"pgbench at port {way.port}: {done.stderr[-300:]}", file=sys.stderr, flush=True)
                return 0, 0.0
            return int(count[1]), float(rate[1])

        return self._counted(way, load)

    def asyncpg(self, way: Way, each: int, *, prepared: bool, fresh: bool) -> Run:
        """What it costs that clients who stay come and go is not counted."""
        connect = {"host": way.host, "port": way.port, "user": "app", "database": way.database, "ssl": "require"}
        connect["password"] = self.password
        given = {"connect": connect, "clients": CLIENTS, "each": each, "prepared": prepared, "fresh": fresh}
        with self._client("asyncpg_load", given) as process:
            connected = process.stdout.readline() if process.stdout else ""
            run = self._counted(way, lambda: _begun(process, each)) if connected else Run(0, 0.0, 0.0, 0.0)
            process.communicate()
        return run

    def logins(self, way: Way, each: int) -> Run:
        """By clients who spend little on it themselves."""

        def load() -> tuple[int, float]:
            with self._client("logins_load", self._login(way, CLIENTS, each)) as process:
                seconds, _nothing = process.communicate()
            return (0, 0.0) if process.returncode else (CLIENTS * each, CLIENTS * each / float(seconds))

        return self._counted(way, load)

    def idle(self, way: Way, count: int) -> float:
        """MiB more than before while so many clients have logged in and do nothing. NaN when they cannot log in."""
        before = usage.memory(*way.groups)
        with self._client("logins_load", self._login(way, count, 0)) as process:
            assert process.stdout
            in_time = process.stdout.readline()
            more = usage.memory(*way.groups) - before
            process.communicate()
        return more if in_time else float("nan")

    def knocks(self, way: Way, count: int) -> float:
        """Seconds until all who came at once had the first answer. NaN when one has none."""
        given = {"host": way.host, "port": way.port, "clients": count}
        with self._client("knocks_load", given) as process:
            said, _nothing = process.communicate()
        return float("nan") if process.returncode else float(said)

    def _login(self, way: Way, clients: int, each: int) -> dict[str, Any]:
        where = {"host": way.host, "port": way.port, "parameters": {"user": "app", "database": way.database}}
        return {**where, "password": self.password, "clients": clients, "each": each}

    def _counted(self, way: Way, load: Callable[[], tuple[int, float]]) -> Run:
        before, server = usage.cpu(*way.groups), usage.cpu(*self.server)
        done, rate = load()
        return Run(done, rate, usage.cpu(*way.groups) - before, usage.cpu(*self.server) - server)

    def _client(self, module: str, given: Mapping[str, Any]) -> subprocess.Popen[str]:
        command = [*self._inside, sys.executable, "-m", f"tests.bench.{module}"]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert process.stdin
        process.stdin.write(json.dumps(given) + "\n")
        process.stdin.flush()
        return process

    def _pgbench(self, way: Way, *arguments: str, script: str = "") -> subprocess.CompletedProcess[str]:
        command = [*self._inside, "chroot", f"--userspec={_POSTGRES}", str(images.image("spilo").root), _PGBENCH]
        command += ["-h", way.host, "-p", str(way.port), "-U", "app", *arguments, way.database]
        # libpq looks for a certificate in the home of whoever calls.
        environment = {**os.environ, "PGPASSWORD": self.password, "PGSSLMODE": "require", "HOME": "/nonexistent"}
        return subprocess.run(command, input=script, capture_output=True, text=True, env=environment, check=False)

    @property
    def _inside(self) -> list[str]:
        return ["prlimit", f"--nofile={_FILES}", "ip", "netns", "exec", network.lab_namespace(self.lab)]


def _begun(process: subprocess.Popen[str], each: int) -> tuple[int, float]:
    """Has connected clients begin, and waits for what they say at the end."""
    assert process.stdin
    assert process.stdout
    process.stdin.write("\n")
    process.stdin.flush()
    said = process.stdout.readline()
    return (CLIENTS * each, CLIENTS * each / float(said)) if said else (0, 0.0)


def ratio(some: Sequence[Run], others: Sequence[Run], of: Callable[[Run], float]) -> float:
    """The median of what the rounds say, each for itself; NaN when there was none in which both got something done."""
    return middle(of(a) / of(b) for a, b in zip(some, others, strict=True) if a.done and b.done)


def middle(values: Iterable[float]) -> float:
    """The median, or NaN."""
    listed = list(values)
    return statistics.median(listed) if listed else float("nan")
