"""The modules that run `pooler` in the agent's container: what is asked, what becomes of the answer."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.pgfleet.pooler.plugins.action import patroni_info, patroni_switchover
from ansible_collections.pgfleet.pooler.plugins.plugin_utils import agent
from ansible_collections.pgfleet.pooler.plugins.plugin_utils.host import Host, HostError

REPORT: dict[str, Any] = {
    "leader": "db1",
    "candidate": "db2",
    "changed": True,
    "patroni": 1.9,
    "stall": 2.0,
    "failed": 0,
    "done": 99,
    "hosts": {},
    "steps": [],
    "notes": [],
    "error": "",
}
ARGUMENTS: dict[str, Any] = {
    "agents": ["https://a:9127", "https://b:9127"],
    "operation": "switchover",
    "candidate": None,
    "patroni": [],
    "pause_timeout": 5.0,
    "max_stall": 10.0,
    "max_transaction": 5.0,
    "container": "pgbouncer-agent",
}


class Podman:
    """A stand-in for podman: keeps its arguments, says and ends as told."""

    def __init__(self, directory: Path, said: str, status: int = 0, trouble: str = "") -> None:
        self.arguments = directory / "arguments"
        script = directory / "podman"
        (directory / "said").write_text(said)
        script.write_text(
            f'#!/bin/sh\nprintf "%s\\n" "$@" > {self.arguments}\n'
            f"echo '{trouble}' >&2\ncat {directory / 'said'}\nexit {status}\n"
        )
        script.chmod(0o755)
        self.path = f"{directory}:{os.environ['PATH']}"

    def execute(self, command: str, data: bytes) -> Mapping[str, Any]:
        done = subprocess.run(
            ["sh", "-c", command], input=data, capture_output=True, check=False, env={"PATH": self.path}
        )
        return {"rc": done.returncode, "stdout": done.stdout.decode(), "stderr": done.stderr.decode()}

    def words(self) -> list[str]:
        return self.arguments.read_text().splitlines()


def perform(module: Any, podman: Podman, arguments: dict[str, Any], *, check: bool = False) -> dict[str, Any]:
    action = module.ActionModule.__new__(module.ActionModule)
    action.check = check
    action.host = lambda: Host("pool1", podman.execute)
    result: dict[str, Any] = action.perform(arguments)
    return result


def test_a_switchover_is_asked_of_all_agents_with_its_limits(tmp_path: Path) -> None:
    podman = Podman(tmp_path, json.dumps(REPORT))
    result = perform(patroni_switchover, podman, ARGUMENTS | {"candidate": "db2"})
    assert podman.words() == [
        *("exec", "pgbouncer-agent", "pooler", "switchover"),
        *("--agent", "https://a:9127", "--agent", "https://b:9127"),
        *("--pause-timeout", "5.0", "--max-stall", "10.0", "--max-transaction", "5.0"),
        *("--candidate", "db2", "--json"),
    ]
    assert (result["changed"], result["stall"], result["failed_transactions"]) == (True, 2.0, 0)
    assert "failed" not in result


def test_a_restart_names_no_candidate_and_check_mode_is_said(tmp_path: Path) -> None:
    podman = Podman(tmp_path, json.dumps(REPORT | {"changed": False, "stall": None}))
    result = perform(patroni_switchover, podman, ARGUMENTS | {"operation": "restart", "candidate": "db2"}, check=True)
    assert podman.words()[3] == "restart-leader"
    assert podman.words()[-2:] == ["--check", "--json"]
    assert "--candidate" not in podman.words()
    assert result["changed"] is True


def test_a_failed_switchover_fails_the_task_with_its_words_and_keeps_what_was_measured(tmp_path: Path) -> None:
    report = REPORT | {"error": "pause: https://b:9127: a transaction goes on", "changed": False}
    result = perform(patroni_switchover, Podman(tmp_path, json.dumps(report), status=1), ARGUMENTS)
    assert result["failed"] is True
    assert result["changed"] is False
    assert result["msg"] == "pool1: pause: https://b:9127: a transaction goes on"
    assert result["stall"] == 2.0


def test_a_container_that_does_not_run_is_told_with_the_words_of_podman(tmp_path: Path) -> None:
    podman = Podman(tmp_path, "", status=125, trouble="no container with name pgbouncer-agent found")
    with pytest.raises(HostError, match="pool1: no container with name pgbouncer-agent found"):
        perform(patroni_switchover, podman, ARGUMENTS)


def test_an_answer_that_is_not_json_is_shown(tmp_path: Path) -> None:
    with pytest.raises(HostError, match="pooler cluster in it is not understood: usage: pooler"):
        agent.run(Host("pool1", Podman(tmp_path, "usage: pooler").execute), "it", ["cluster"])


def test_the_cluster_is_what_the_command_says_and_nothing_changes(tmp_path: Path) -> None:
    podman = Podman(tmp_path, json.dumps({"leader": "db1", "members": []}))
    arguments = {"patroni": ["https://db1:8008"], "container": "agent"}
    assert perform(patroni_info, podman, arguments) == {"changed": False, "leader": "db1", "members": []}
    assert podman.words() == ["exec", "agent", "pooler", "cluster", "--patroni", "https://db1:8008", "--json"]
