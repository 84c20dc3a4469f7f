"""The role auth_query fails where PostgreSQL is in recovery on all of the play's hosts, and nowhere else."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import yaml

TASKS = Path(__file__).parents[2] / "roles/auth_query/tasks/main.yml"


@pytest.mark.parametrize(
    ("leads", "limit", "status"),
    [
        ({"a": True, "b": False}, "all", 0),
        ({"a": False, "b": True}, "all", 0),
        ({"a": False, "b": False}, "all", 2),
        ({"a": True, "b": False}, "b", 2),
    ],
)
def test_one_of_the_hosts_has_to_lead(tmp_path: Path, leads: dict[str, bool], limit: str, status: int) -> None:
    judged = yaml.safe_load(TASKS.read_text())[1]
    result = {"__auth_query_result": {"leader": "{{ leads[inventory_hostname] }}"}}
    play = {
        "hosts": "all",
        "gather_facts": False,
        "connection": "local",
        "vars": {"leads": leads},
        "tasks": [{"ansible.builtin.set_fact": result}, judged],
    }
    (tmp_path / "play.yml").write_text(yaml.safe_dump([play]))
    command = ["ansible-playbook", "--inventory", "a,b,", "--limit", limit, str(tmp_path / "play.yml")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == status, done.stdout + done.stderr
    hosts = ", ".join(leads) if limit == "all" else limit
    assert (f"in recovery on all of {hosts}, so nothing was done" in done.stdout) == bool(status)
