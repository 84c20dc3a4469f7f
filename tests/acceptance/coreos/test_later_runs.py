"""Ansible comes to a host that Ignition has brought up: it finds nothing to do, and changes are as anywhere."""

from __future__ import annotations

import pytest

from tests.acceptance.playbook import Run, run, site
from tests.acceptance.remote import Remote
from tests.acceptance.scenario import CONSOLES, DATABASE, POOLER, Scenario
from tests.drills import changes
from tests.drills.fleet import Fleet

HOSTS = ("--limit", f"{DATABASE},{POOLER}")
TASK = "pgfleet.pooler.pgbouncer : PgBouncer instances"
_SINCE = "podman ps --no-trunc --format '{{.ID}} {{.Names}}' | sort"


@pytest.fixture(scope="module")
def first(lab: Scenario) -> Run:
    return site(lab, "--diff", *HOSTS)


@pytest.fixture(scope="module")
def checked(lab: Scenario) -> Run:
    return site(lab, "--check", "--diff", *HOSTS)


def test_check_mode_finds_nothing_to_do_on_a_host_that_ansible_has_never_seen(checked: Run) -> None:
    assert checked.status == 0, checked.tail()
    assert checked.recap(POOLER)["changed"] == 0, checked.tail()


def test_the_first_run_changes_nothing_that_ignition_has_done(pooler: Remote, checked: Run, first: Run) -> None:
    assert first.status == 0, first.tail()
    assert first.recap(POOLER)["changed"] == 0, first.tail()
    assert first.execs(TASK) == 1


def test_the_playbook_of_first_boots_gives_the_same_again(lab: Scenario, first: Run) -> None:
    again = run(lab, "pgfleet.pooler.ignition", "--limit", POOLER)
    assert again.status == 0, again.tail()
    assert again.recap(POOLER)["changed"] == 0, again.tail()


def test_another_pool_size_is_a_reload(lab: Scenario, pooler: Remote, first: Run) -> None:
    before = pooler.sh(_SINCE)
    listed = [{**each, "pool_size": 7} for each in lab.variables["pgbouncer_databases"]]
    changed = site(lab, "--limit", POOLER, variables={"pgbouncer_databases": listed})
    assert changed.recap(POOLER)["changed"] == 1, changed.tail()
    for console in CONSOLES:
        header, *rows = pooler.console(console, "SHOW DATABASES")
        assert ("app", "7") in {(row[0], row[header.index("pool_size")]) for row in rows}
    assert pooler.sh(_SINCE) == before


def test_the_drill_of_changes_passes(lab: Scenario, first: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(lab.project)  # where its details go
    monkeypatch.setenv("ANSIBLE_FORCE_COLOR", "0")  # molecule sets it, and what is printed is counted
    variables = {
        **lab.variables,
        "pgbouncer_patroni": [f"https://{lab.addresses[DATABASE]}:8008"],
        "pgbouncer_nofile": 8192,
    }
    figures = changes.measure(Fleet(lab.paths, variables), short=True)
    assert len(figures) >= 8
    assert [figure for figure in figures if not figure.reached] == []


def test_afterwards_a_run_brings_back_what_the_inventory_says(lab: Scenario, first: Run) -> None:
    assert site(lab, "--limit", POOLER).recap(POOLER)["changed"] == 1
    again = site(lab, "--limit", POOLER)
    assert again.recap(POOLER)["changed"] == 0, again.tail()


def test_no_run_shows_a_secret(lab: Scenario, checked: Run, first: Run) -> None:
    for each in (checked, first):
        assert [token for token in lab.tokens if token in each.output] == []
