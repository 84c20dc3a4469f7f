"""Runs of ansible-playbook at -vvv, and what their output tells."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .scenario import Scenario


@dataclass(frozen=True)
class Run:
    """`output` is everything that was printed, at -vvv."""

    status: int
    output: str = field(repr=False)

    def recap(self, host: str) -> dict[str, int]:
        """ok, changed, unreachable, failed and so on of one host."""
        lines = re.findall(rf"^{re.escape(host)} +: (.*)$", self.output, re.MULTILINE)
        assert lines, f"the run ended without a recap for {host}:\n{self.tail()}"
        return {name: int(count) for name, count in (word.split("=") for word in lines[-1].split())}

    def execs(self, task: str) -> int:
        """How often ssh ran something on a host for the tasks of that name."""
        return sum(part.count("SSH: EXEC ssh") for part in self._parts() if part.startswith(f"TASK [{task}]"))

    def all_execs(self) -> int:
        return self.output.count("SSH: EXEC ssh")

    def errors(self) -> list[str]:
        """Task results that say failed or unreachable."""
        return re.findall(r"^(?:fatal|failed): \[[^\n]*(?:\n    [^\n]*)*", self.output, re.MULTILINE)

    def tail(self) -> str:
        return self.output[-3000:]

    def _parts(self) -> list[str]:
        return re.split(r"^(?=TASK \[|PLAY )", self.output, flags=re.MULTILINE)


def run(scenario: Scenario, playbook: str, *options: str, variables: Mapping[str, Any] | None = None) -> Run:
    """`variables` stand in arguments: nothing secret among them."""
    extra = ["--extra-vars", json.dumps(variables)] if variables else []
    command = ["ansible-playbook", "-vvv", "--inventory", str(scenario.inventory), *extra, *options, playbook]
    environment = {**os.environ, "ANSIBLE_FORCE_COLOR": "0", "ANSIBLE_NOCOLOR": "1"}
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment, check=False)
    return Run(done.returncode, done.stdout.decode(errors="replace"))


def site(scenario: Scenario, *options: str, variables: Mapping[str, Any] | None = None) -> Run:
    return run(scenario, "pgfleet.pooler.site", *options, variables=variables)
