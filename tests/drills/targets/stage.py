"""The host on which projects and pods run: its podman, its clients, and what a reader sees of failures."""

from __future__ import annotations

import shlex
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import psycopg

from pooler import cli
from tests.acceptance import namespace, variables
from tests.lab import hosts, network

# The lab's kernel has no memory controller for containers of its hosts: what they may use is not tried here.
_WITHOUT_MEMORY = """#!/bin/bash
args=()
while [ $# -gt 0 ]; do
  case $1 in
    -m) shift 2 ;;
    *) args+=("$1"); shift ;;
  esac
done
exec {podman} "${{args[@]}}"
"""

_PATIENCE = 300
"""Seconds; not what anything may take, but when nothing is to be expected any more."""

_WORDS = """podman ps --all
for container in $(podman ps --all --format '{{.Names}}'); do
  echo "== $container"; podman logs --tail 15 "$container" 2>&1
done"""


@dataclass
class Stage:
    """`place` is a directory of the controller's; the project has the same path there and on the host."""

    lab: str
    host: str
    address: str
    place: Path
    wrong: list[str] = field(default_factory=list)

    @cached_property
    def variables(self) -> dict[str, Any]:
        """What the scenarios of the main job have in their inventory."""
        return variables.variables(self.place)

    @property
    def project(self) -> Path:
        return self.place / "project"

    @property
    def password(self) -> str:
        return str(self.variables["postgresql_users"][0]["password"])

    def sh(self, script: str) -> str:
        """What the script prints as root on the host. Raises SystemExit with its last words when it fails."""
        return self.enter("sh", "-eu", said=script)

    def podman(self, *arguments: str, said: str = "") -> str:
        return self.enter("podman", *arguments, said=said)

    def enter(self, *command: str, said: str = "") -> str:
        done = subprocess.run(
            hosts.enter(self.lab, self.host, list(command)), input=said, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise SystemExit(f"{shlex.join(command)}: {done.stdout[-1000:]}{done.stderr[-2000:]}")
        return done.stdout

    def asks(self, *command: str) -> bool:
        """Whether the command succeeds on the host."""
        enter = hosts.enter(self.lab, self.host, list(command))
        return subprocess.run(enter, capture_output=True, check=False).returncode == 0

    def compose(self, *arguments: str) -> str:
        """podman-compose of the controller with the podman of the host."""
        podman = self.place / "podman"
        podman.touch(mode=0o755)
        podman.write_text(_WITHOUT_MEMORY.format(podman=shlex.join(hosts.enter(self.lab, self.host, ["podman"]))))
        command = ["podman-compose", "--podman-path", str(podman), "--file", str(self.project / "compose.yml")]
        done = subprocess.run([*command, *arguments], cwd=self.project, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"podman-compose {shlex.join(arguments)}: {done.stdout[-2000:]}{done.stderr[-3000:]}")
        return done.stdout

    def render(self, what: str, given: Path, output: Path, said: str = "") -> None:
        """`pooler render`, as people call it; `said` is its standard input."""
        command = [sys.executable, "-m", cli.__name__, "render", what, str(given), "--output", str(output)]
        done = subprocess.run(command, input=said, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"pooler render {what}: {done.stderr}")

    def connect(self, port: int = 6432, **options: Any) -> psycopg.Connection[Any]:
        """As `app`, over verified TLS, from outside the host."""
        given: dict[str, Any] = {
            "host": self.host,
            "hostaddr": self.address,
            "port": port,
            "user": "app",
            "dbname": "app",
            "password": self.password,
            "sslmode": "verify-full",
            "sslrootcert": str(self.project / "ca.crt"),
            "connect_timeout": 10,
            "autocommit": True,
        }
        with namespace.inside(network.lab_namespace(self.lab)):
            return psycopg.connect(**{**given, **options})

    def logs_in(self, port: int = 6432, **options: Any) -> bool:
        try:
            with self.connect(port, **options) as connection:
                return connection.execute("SELECT 1").fetchone() == (1,)
        except psycopg.Error:
            return False

    def until(self, what: str, so: Callable[[], bool]) -> float:
        """Seconds until it is so. Raises SystemExit after five minutes, with the last words of every container."""
        began = time.monotonic()
        while not so():
            if time.monotonic() - began > _PATIENCE:
                raise SystemExit(f"{what}: not within {_PATIENCE} s\n{self.sh(_WORDS)}")
            time.sleep(0.1)
        return time.monotonic() - began

    def tried(self, what: str, worked: bool) -> bool:
        """Keeps what did not work, for the terminal."""
        if not worked:
            self.wrong.append(what)
            print(f"  not so: {what}", file=sys.stderr, flush=True)
        return worked
