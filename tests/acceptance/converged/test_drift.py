"""What somebody changed by hand: `pgbouncer_info` and check mode show it, the next run puts it right."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.acceptance.playbook import run
from tests.acceptance.remote import Remote
from tests.acceptance.scenario import POOLER, Scenario

PLAYBOOK = str(Path(__file__).parents[1] / "playbooks/poolers.yml")
CONSOLE = "podman exec pgbouncer-{0} psql -Xq -h /run/pgbouncer/{0} -p 6432 -U pgbouncer -d pgbouncer -c"

HARM = {
    "a setting, not read yet": (
        "sed -i 's/^pool_mode = .*/pool_mode = session/' /etc/pgbouncer/current/50001.ini",
        "pool_mode 'transaction' becomes 'session'",
    ),
    "a setting that was read": (
        "sed -i 's/^pool_mode = .*/pool_mode = session/' /etc/pgbouncer/current/50002.ini;"
        f"{CONSOLE.format(50002)} RELOAD",
        "is not as it was written",
    ),
    "a rule": ("echo 'host all all all trust' >> /etc/pgbouncer/current/hba.conf", "is not as it was written"),
    "a mode": ("chmod 0644 /etc/pgbouncer/current/userlist.txt", "is not as it was written"),
    "SET": (f"{CONSOLE.format(50001)} 'SET default_pool_size = 3'", "default_pool_size '3' becomes '20'"),
    "the hosts file": (
        f"sed -i 's/pool_size=10/pool_size=11/' /etc/pgbouncer/databases/databases.ini;{CONSOLE.format(50001)} RELOAD",
        "pool_size '10' becomes '11'",
    ),
    "an instance": ("systemctl stop pgbouncer@50002.socket pgbouncer@50002.service", "the process is not running"),
    "a socket": ("systemctl stop pgbouncer@50001.socket", "the socket unit is not active"),
    "the unit": ("rm /etc/containers/systemd/pgbouncer@.container", "pgbouncer@.container is missing"),
    "the unit, known to systemd": (
        "rm /etc/containers/systemd/pgbouncer@.container; systemctl daemon-reload",
        "pgbouncer@.container is missing",
    ),
    "the unit's limits": (
        "sed -i 's/^MemoryMax=.*/MemoryMax=1G/' /etc/containers/systemd/pgbouncer@.container",
        "is not as it was written",
    ),
    "its start with the host": (
        "rm /etc/containers/systemd/pgbouncer@50002.container",
        "would not start with the host",
    ),
    "a sysctl": ("rm /etc/sysctl.d/90-pgbouncer.conf", "90-pgbouncer.conf is missing"),
}


def drift(lab: Scenario) -> list[str]:
    """What `pgbouncer_info` says of the pooler host."""
    command = ["ansible", POOLER, "--inventory", str(lab.inventory), "--one-line"]
    command += ["--module-name", "pgfleet.pooler.pgbouncer_info", "--args", "commands=VERSION"]
    environment = {**os.environ, "ANSIBLE_NOCOLOR": "1", "ANSIBLE_FORCE_COLOR": "0"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return [f"{change['what']} {change['why']}" for change in json.loads(done.stdout.partition("=> ")[2])["drift"]]


@pytest.mark.parametrize("what", HARM)
def test_what_somebody_changed_by_hand_is_shown_and_put_right(lab: Scenario, pooler: Remote, what: str) -> None:
    harm, words = HARM[what]
    assert drift(lab) == []
    pooler.sh(harm)
    assert words in "\n".join(drift(lab))
    checked = run(lab, PLAYBOOK, "--check", "--diff")
    assert checked.recap(POOLER)["changed"] == 1, checked.tail()
    mended = run(lab, PLAYBOOK, "--extra-vars", "pgbouncer_drain_timeout=1")
    assert (mended.recap(POOLER)["changed"], mended.recap(POOLER)["failed"]) == (1, 0), mended.tail()
    assert run(lab, PLAYBOOK).recap(POOLER)["changed"] == 0


def test_nothing_is_left_of_it(lab: Scenario) -> None:
    assert drift(lab) == []
