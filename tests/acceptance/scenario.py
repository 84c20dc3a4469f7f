"""The scenario that molecule runs: its hosts, its inventory, its variables."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from tests.lab import state

from . import variables

DATABASE = "db1"
POOLER = "pool1"
PORT = 6432
CONSOLES = (50001, 50002)


@dataclass(frozen=True)
class Scenario:
    """`directory` is molecule's for this run. Secrets stay out of `repr`, which pytest prints."""

    name: str
    project: Path
    directory: Path
    variables: dict[str, Any] = field(repr=False)

    @property
    def inventory(self) -> Path:
        return self.directory / "inventory"

    @property
    def root(self) -> Path:
        """The certificate that clients trust."""
        return Path(self.variables["certificates_authority_directory"]) / "ca.crt"

    @property
    def paths(self) -> state.Paths:
        return state.Paths(self.name)

    @cached_property
    def addresses(self) -> dict[str, str]:
        return {host.name: host.address for host in state.read_spec(self.name).hosts}

    def password(self, role: str) -> str:
        """The password of a role in PostgreSQL, or of a user of the console."""
        if role == "listed":
            return str(self.variables["listed_password"])
        entries = (*self.variables["postgresql_users"], *self.variables["pgbouncer_users"])
        return next(str(entry["password"]) for entry in entries if entry["name"] == role)

    @property
    def tokens(self) -> set[str]:
        return variables.tokens(self.variables)


def current() -> Scenario:
    """The scenario by which molecule calls us. Raises KeyError outside of molecule."""
    directory = Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"])
    written = yaml.safe_load((directory / "inventory/variables.yml").read_text())
    return Scenario(
        name=os.environ["MOLECULE_SCENARIO_NAME"],
        project=Path(os.environ["MOLECULE_PROJECT_DIRECTORY"]),
        directory=directory,
        variables=written["all"]["vars"],
    )
