"""The host goes down, as for an update: clients leave first, and all of it comes back by itself."""

from __future__ import annotations

import os
import select
import time
from dataclasses import dataclass

import psycopg
import pytest

from tests.acceptance import clients, health
from tests.acceptance.playbook import site
from tests.acceptance.remote import Remote
from tests.acceptance.scenario import CONSOLES, POOLER, Scenario
from tests.lab import cgroups, life

_DEADLINE = 90
"""Seconds; draining takes at most the 60 of drain_timeout and transaction_timeout."""


@dataclass(frozen=True)
class Reboot:
    """While the host went down: what a client in a transaction got, and what the agent said of the host."""

    row: tuple[str, ...]
    status: int
    reason: str


@pytest.fixture(scope="module")
def rebooted(lab: Scenario, pooler: Remote) -> Reboot:
    ended = os.pidfd_open(cgroups.first_process(cgroups.host_cgroup(lab.name, POOLER)))
    with clients.connect(lab, autocommit=False) as connection:
        connection.execute("SELECT 1")
        pooler.sh("systemctl --no-block poweroff")
        _await_closed_port(lab)
        status, said = health.ask(lab, "/ready")
        row = connection.execute("SELECT current_user, current_database()").fetchone()
        connection.commit()
    assert select.select([ended], [], [], _DEADLINE)[0], "the host is still up"
    os.close(ended)
    life.kill(lab.name, POOLER)  # what is left outside of a host that has switched itself off
    life.boot(lab.name, POOLER)
    return Reboot(row or (), status, said["reason"])


def test_a_transaction_ends_well_while_the_host_goes_down(rebooted: Reboot) -> None:
    assert rebooted.row == ("app", "app")


def test_load_balancers_hear_of_it(rebooted: Reboot) -> None:
    assert rebooted.status == 503
    assert "drain" in rebooted.reason


def test_every_instance_was_drained(pooler: Remote, rebooted: Reboot) -> None:
    said = pooler.sh("journalctl --no-pager --output=cat --unit=pgbouncer-drain.service --boot=-1")
    for console in CONSOLES:
        assert f"step drain {console}" in said
    assert "closed " not in said
    assert "cut " not in said


def test_the_host_serves_again_by_itself(lab: Scenario, rebooted: Reboot) -> None:
    assert clients.by_psycopg(lab, "app", "app") == ("app", "app")


def test_the_host_is_not_taken_for_one_that_is_to_stay_out(lab: Scenario, pooler: Remote, rebooted: Reboot) -> None:
    assert pooler.sh("test ! -e /var/lib/pgbouncer/draining || echo marked") == ""
    assert health.until(lambda: health.ask(lab, "/ready")[0] == 200)


def test_a_run_after_the_reboot_finds_nothing_to_do(lab: Scenario, rebooted: Reboot) -> None:
    again = site(lab, "--limit", POOLER)
    assert again.recap(POOLER)["changed"] == 0, again.tail()


def _await_closed_port(lab: Scenario) -> None:
    """Returns when a new client is no longer let in."""
    deadline = time.monotonic() + _DEADLINE
    while time.monotonic() < deadline:
        try:
            clients.connect(lab, connect_timeout=5).close()
        except psycopg.OperationalError:
            return
    raise AssertionError("new clients were let in until the end")
