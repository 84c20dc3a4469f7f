"""What was built, installed and run without the checkout, in the order of its life."""

from __future__ import annotations

import os
import re
import subprocess

import pytest

from tests.acceptance import clients
from tests.acceptance.manifest import HOSTS, everything, saved
from tests.acceptance.playbook import Run
from tests.acceptance.remote import Remote
from tests.acceptance.scenario import DATABASE, POOLER, Scenario

EVERYTHING = ("--extra-vars", '{"remove_cluster": true, "remove_data": true}')


@pytest.fixture(scope="module")
def first(lab: Scenario) -> Run:
    """site.yml on bare hosts, as converge.yml ran it."""
    return Run(0, (lab.directory / "site.log").read_text())


def play(lab: Scenario, playbook: str, *options: str) -> Run:
    """A playbook of the installed collection, where the checkout is empty."""
    command = [str(lab.project / "tests/acceptance/without_checkout.sh"), "ansible-playbook", "-vvv"]
    environment = {**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(lab.directory / "collections")}
    done = subprocess.run(
        [*command, "--inventory", str(lab.inventory), *options, playbook],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=environment | {"ANSIBLE_FORCE_COLOR": "0", "ANSIBLE_NOCOLOR": "1"},
        check=False,
    )
    return Run(done.returncode, done.stdout.decode(errors="replace"))


def test_every_task_is_one_of_the_archive(lab: Scenario, first: Run) -> None:
    files = set(re.findall(r"^task path: (.+):\d+$", first.output, re.MULTILINE))
    assert len(files) > 5
    installed = str(lab.directory / "collections/ansible_collections/pgfleet/pooler") + "/"
    assert [file for file in files if not file.startswith(installed)] == []


def test_the_archive_holds_nothing_that_only_developers_need(lab: Scenario) -> None:
    installed = lab.directory / "collections/ansible_collections/pgfleet/pooler"
    found = {place.name for place in installed.iterdir()}
    assert {"plugins", "pooler", "roles", "playbooks", "meta", "README.md", "LICENSE"} <= found
    assert found & {"tests", "molecule", "build", ".venv", ".git", ".ci"} == set()


def test_the_image_was_streamed_with_progress(first: Run) -> None:
    assert re.search(r"^pool1: image \d+ of \d+ MB$", first.output, re.MULTILINE)


def test_output_of_the_first_run_at_full_verbosity_shows_no_secret(lab: Scenario, first: Run) -> None:
    assert [token for token in lab.tokens if token in first.output] == []


@pytest.mark.parametrize("driver", [clients.by_psql, clients.by_asyncpg, clients.by_psycopg])
def test_logins_through_the_pool_work(lab: Scenario, driver: clients.Driver) -> None:
    assert driver(lab, "app", "app") == ("app", "app")


def test_remove_takes_the_poolers_and_their_database_objects_away(lab: Scenario, database: Remote) -> None:
    done = play(lab, "pgfleet.pooler.remove")
    assert done.status == 0, done.tail()
    ours = "SELECT nspname FROM pg_namespace WHERE nspname = 'pgbouncer' UNION SELECT rolname FROM pg_roles"
    assert "pgbouncer" not in database.sql(ours).split()
    assert "app" in database.sql("SELECT datname FROM pg_database").split()
    assert everything(Remote(lab, POOLER)) ^ saved(POOLER) == set()


def test_remove_takes_the_cluster_away_when_told_so(lab: Scenario) -> None:
    done = play(lab, "pgfleet.pooler.remove", *EVERYTHING)
    assert done.status == 0, done.tail()
    assert everything(Remote(lab, DATABASE)) ^ saved(DATABASE) == set()


def test_removing_what_is_gone_changes_nothing(lab: Scenario) -> None:
    done = play(lab, "pgfleet.pooler.remove", *EVERYTHING)
    assert done.status == 0, done.tail()
    assert [done.recap(host)["changed"] for host in HOSTS] == [0, 0]
