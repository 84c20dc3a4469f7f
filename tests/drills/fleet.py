"""A lab with one database host and pooler hosts, as drills use it: playbooks with changed variables, scripts by ssh."""

from __future__ import annotations

import contextlib
import os
import re
import resource
import secrets
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tests.lab import images, life, spec
from tests.lab.state import Paths

ROLE = """\
- name: The pgbouncer role alone
  hosts: pooler
  gather_facts: false
  tasks:
    - name: As in poolers.yml
      ansible.builtin.import_role:
        name: pgfleet.pooler.pgbouncer
        rolespec_validate: false
"""


@dataclass(frozen=True)
class Play:
    """How a playbook ended; `output` is everything it printed.

    `cpu`: seconds of the controller, and of whatever else that was ended meanwhile had been started from here.
    """

    status: int
    seconds: float
    cpu: float
    output: str = field(repr=False)

    @property
    def changed(self) -> int:
        """Changed tasks on all hosts."""
        return sum(int(count) for count in re.findall(r"^\S+ +: .*\bchanged=(\d+)", self.output, re.MULTILINE))


@dataclass(frozen=True)
class Fleet:
    """`variables` hold secrets; they reach Ansible in a file of mode 0600."""

    paths: Paths
    variables: Mapping[str, Any] = field(repr=False)

    @property
    def password(self) -> str:
        return str(self.variables["postgresql_users"][0]["password"])

    @property
    def authority(self) -> Path:
        return Path(self.variables["certificates_authority_directory"]) / "ca.crt"

    def role(self, changes: Mapping[str, Any], limit: str = "all") -> Play:
        """The pgbouncer role on pooler hosts, with these variables instead of or besides the fleet's."""
        return self.play(ROLE, changes, limit)

    def play(
        self,
        playbook: str,
        changes: Mapping[str, Any],
        limit: str = "all",
        without: tuple[str, ...] = (),
        flags: tuple[str, ...] = (),
    ) -> Play:
        """`playbook` is a name in a collection, or YAML. `without`: variables of the fleet that it sets itself."""
        given, written = self.paths.directory / "variables.yml", self.paths.directory / "playbook.yml"
        variables = {**self.variables, **changes}
        given.touch(mode=0o600)
        given.write_text(yaml.safe_dump({name: value for name, value in variables.items() if name not in without}))
        if "\n" in playbook:
            written.write_text(playbook)
            playbook = str(written)
        command = ["ansible-playbook", "--inventory", str(self.paths.inventory), "--limit", limit]
        command += ["--extra-vars", f"@{given}", *flags, playbook]
        # On a machine that has more to do than it can, ssh and sudo take longer than Ansible's ten seconds.
        environment = {
            "ANSIBLE_TIMEOUT": "60",
            **os.environ,
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_CALLBACK_RESULT_FORMAT": "yaml",
        }
        began, before = time.monotonic(), _cpu_of_children()
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
        seconds, cpu = time.monotonic() - began, _cpu_of_children() - before
        return Play(done.returncode, seconds, cpu, done.stdout + done.stderr)

    def sh(self, host: str, script: str) -> str:
        """What the script prints as root. Raises SystemExit with its last words when it fails."""
        command = ["ssh", "-F", str(self.paths.ssh_config), host, "sudo", "sh", "-eu"]
        done = subprocess.run(command, input=script, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"{host}: {done.stderr[-2000:]}")
        return done.stdout

    def fetch(self, host: str, path: str, target: Path) -> None:
        """Copy a file that root can read. Raises SystemExit."""
        with target.open("wb") as file:
            command = ["ssh", "-F", str(self.paths.ssh_config), host, "sudo", "cat", path]
            if subprocess.run(command, stdin=subprocess.DEVNULL, stdout=file, check=False).returncode:
                raise SystemExit(f"{host}: {path} could not be read")


@contextlib.contextmanager
def booted(description: Mapping[str, Any], changes: Mapping[str, Any]) -> Iterator[Fleet]:
    """The lab with everything of site.yml on it: database `app`, user `app`. It is gone afterwards."""
    lab = spec.parse(description)
    paths = Paths(lab.name)
    life.down(lab.name)
    life.up(lab)
    try:
        servers = [host.address for host in lab.hosts if "database" in host.groups]
        fleet = Fleet(paths, {**_variables(paths, servers), **changes})
        site = fleet.play("pgfleet.pooler.site", {})
        if site.status:
            raise SystemExit(f"site.yml failed:\n{site.output[-4000:]}")
        yield fleet
    finally:
        life.down(lab.name)


def _cpu_of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _variables(paths: Paths, servers: list[str]) -> dict[str, Any]:
    return {
        "pgbouncer_databases": [{"name": "app", "pool_size": 10}],
        "pgbouncer_patroni": [f"https://{server}:8008" for server in servers],
        "pgbouncer_nofile": 8192,
        "postgresql_databases": [{"name": "app", "owner": "app"}],
        "postgresql_users": [{"name": "app", "password": secrets.token_urlsafe(16)}],
        "spilo_image": images.spilo.REFERENCE,
        "etcd_image": images.etcd.REFERENCE,
        # Drills order switchovers from the controller's side.
        "database_orders_from": ["10.77.0.0/16"],
        "image_archive": str(images.pooler.archive()),
        "certificates_authority_directory": str(paths.directory / "pki"),
        "certificates_passphrase": secrets.token_urlsafe(16),
    }
