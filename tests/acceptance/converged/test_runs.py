"""`site.yml` run again, in check mode, and with a change; ssh's own log is counted."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.acceptance import clients
from tests.acceptance.playbook import Run, site
from tests.acceptance.remote import Remote
from tests.acceptance.scenario import DATABASE, POOLER, Scenario
from tests.acceptance.variables import UNUSUAL_DATABASES

TASK = "pgfleet.pooler.pgbouncer : PgBouncer instances"


@pytest.fixture(scope="module")
def again(lab: Scenario) -> Run:
    return site(lab, "--diff")


@pytest.fixture(scope="module")
def checked(lab: Scenario) -> Run:
    return site(lab, "--check", "--diff")


@pytest.fixture(scope="module")
def any_database(lab: Scenario) -> Iterator[Run]:
    """A change, and back again: the entry `*`, which serves every database."""
    listed = lab.variables["pgbouncer_databases"]
    yield site(lab, "--diff", "--limit", POOLER, variables={"pgbouncer_databases": [*listed, {"name": "*"}]})
    assert site(lab, "--limit", POOLER).recap(POOLER)["changed"] == 1


@pytest.mark.parametrize("host", [DATABASE, POOLER])
def test_a_second_run_changes_nothing(again: Run, host: str) -> None:
    assert again.status == 0, again.tail()
    assert again.recap(host)["changed"] == 0


def test_a_run_without_a_change_takes_one_exec(again: Run) -> None:
    assert again.execs(TASK) == 1


@pytest.mark.parametrize("host", [DATABASE, POOLER])
def test_check_mode_on_a_converged_host_finds_nothing_to_do(checked: Run, host: str) -> None:
    assert checked.status == 0, checked.tail()
    assert checked.recap(host)["changed"] == 0


def test_a_change_is_read_tried_and_applied_in_an_exec_each(any_database: Run) -> None:
    # What is applied is read back in the same exec.
    assert any_database.recap(POOLER)["changed"] == 1, any_database.tail()
    assert any_database.execs(TASK) == 3


def test_a_change_shows_what_becomes_of_the_files(any_database: Run) -> None:
    assert "+* = " in any_database.output


@pytest.mark.parametrize("name", UNUSUAL_DATABASES)
def test_databases_with_unusual_names_are_reached_through_the_star(lab: Scenario, any_database: Run, name: str) -> None:
    for driver in (clients.by_psql, clients.by_asyncpg, clients.by_psycopg):
        assert driver(lab, "app", name) == ("app", name)


def test_a_change_of_databases_restarts_no_instance(lab: Scenario, pooler: Remote, any_database: Run) -> None:
    assert "restart instance" not in any_database.output


def test_no_run_shows_a_secret(lab: Scenario, again: Run, checked: Run, any_database: Run) -> None:
    for run in (again, checked, any_database):
        assert [token for token in lab.tokens if token in run.output] == []
