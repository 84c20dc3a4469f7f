"""The host goes down, as for an update: clients leave first, and all of it comes back by itself."""

from __future__ import annotations

import os
import select
import time

import psycopg
import pytest

from tests.acceptance import clients
from tests.acceptance.playbook import site
from tests.acceptance.remote import Remote
from tests.acceptance.scenario import CONSOLES, POOLER, Scenario
from tests.lab import cgroups, life

_DEADLINE = 90
"""Seconds; draining takes at most the 60 of drain_timeout and transaction_timeout."""


@pytest.fixture(scope="module")
def rebooted(lab: Scenario, pooler: Remote) -> tuple[str, ...]:
    """What a client in a transaction got for it, while the host went down and came back."""
    ended = os.pidfd_open(cgroups.first_process(cgroups.host_cgroup(lab.name, POOLER)))
    with clients.connect(lab, autocommit=False) as connection:
        connection.execute("SELECT 1")
        pooler.sh("systemctl --no-block poweroff")
        _await_closed_port(lab)
        row = connection.execute("SELECT current_user, current_database()").fetchone()
        connection.commit()
    assert select.select([ended], [], [], _DEADLINE)[0], "the host is still up"
    os.close(ended)
    life.boot(lab.name, POOLER)
    return row or ()


def test_a_transaction_ends_well_while_the_host_goes_down(rebooted: tuple[str, ...]) -> None:
    assert rebooted == ("app", "app")


def test_every_instance_was_drained(pooler: Remote, rebooted: tuple[str, ...]) -> None:
    said = pooler.sh("journalctl --no-pager --output=cat --unit=pgbouncer-drain.service --boot=-1")
    for console in CONSOLES:
        assert f"step drain {console}" in said
    assert "closed " not in said
    assert "cut " not in said


def test_the_host_serves_again_by_itself(lab: Scenario, rebooted: tuple[str, ...]) -> None:
    assert clients.by_psycopg(lab, "app", "app") == ("app", "app")


def test_the_host_is_not_taken_for_one_that_is_to_stay_out(pooler: Remote, rebooted: tuple[str, ...]) -> None:
    assert pooler.sh("test ! -e /var/lib/pgbouncer/draining || echo marked") == ""


def test_a_run_after_the_reboot_finds_nothing_to_do(lab: Scenario, rebooted: tuple[str, ...]) -> None:
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
