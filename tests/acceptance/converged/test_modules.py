"""Modules beside the role: files for a PgBouncer of one's own, questions and orders to instances."""

from __future__ import annotations

from pathlib import Path

import pytest

from pooler import ini, scram, userlist
from tests.acceptance.playbook import Run, run
from tests.acceptance.remote import Remote
from tests.acceptance.scenario import Scenario


@pytest.fixture(scope="module")
def modules(lab: Scenario) -> Run:
    return run(lab, str(Path(__file__).parents[1] / "playbooks/modules.yml"))


def test_files_are_written_once_and_instances_answer_and_obey(modules: Run) -> None:
    assert modules.status == 0, modules.tail()


def test_the_files_are_what_the_engine_reads(modules: Run, lab: Scenario, pooler: Remote) -> None:
    written = ini.parse(pooler.sh("cat /var/lib/modules/pgbouncer.ini"))
    assert written.databases == {"app": {"host": "10.0.0.1", "pool_size": "20"}}
    listed = userlist.parse(pooler.sh("cat /var/lib/modules/userlist.txt"))
    assert scram.verifies(listed["listed"], lab.password("listed"))


def test_nothing_secret_was_shown(modules: Run, lab: Scenario) -> None:
    assert [token for token in lab.tokens if token in modules.output] == []
