"""Mistakes in variables and trouble on the way: one clear error each, and the host is left as it was."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.acceptance import clients
from tests.acceptance.playbook import Run, run, site
from tests.acceptance.remote import Remote
from tests.acceptance.scenario import POOLER, Scenario

ROLE = "pgfleet.pooler.pgbouncer"

# Name: what is written into the inventory, and what the error names: the place, the value and what is allowed.
MISTAKES: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "an unknown setting": (
        {"pgbouncer_settings": {"max_client_con": 10}},
        ("settings.max_client_con", "is not a setting of PgBouncer", "did you mean 'max_client_conn'?"),
    ),
    "a setting that came later": (
        {"pgbouncer_settings": {"max_db_client_connections": 5}, "pgbouncer_engine_version": "1.23.1"},
        ("settings.max_db_client_connections", "1.24"),
    ),
    "a wrong type": ({"pgbouncer_settings": {"max_client_conn": [10]}}, ("settings.max_client_conn",)),
    "a list that is none": ({"pgbouncer_databases": "app"}, ("pgbouncer_databases",)),
    "a unit of time": (
        {"pgbouncer_settings": {"server_idle_timeout": "1m"}},
        ("settings.server_idle_timeout", "'1m'", "60"),
    ),
    "a word for a number": (
        {"pgbouncer_databases": [{"name": "app", "pool_size": "abc"}]},
        ("databases[0].pool_size", "'abc'"),
    ),
    "a port that is none": ({"pgbouncer_port": 70000}, ("port", "70000", "65535")),
    "two databases of one name": (
        {"pgbouncer_databases": [{"name": "app"}, {"name": "app"}]},
        ("databases[1].name", "'app'", "twice"),
    ),
    "a database name that the engine cannot be told": (
        {"pgbouncer_databases": [{"name": "with space"}]},
        ("'with space'", "1.25", "letters, digits and _.*-"),
    ),
    "a database name that is too long": (
        {"pgbouncer_databases": [{"name": "d" * 64}]},
        ("databases[0].name", "64 bytes", "at most 63"),
    ),
    "a user name that the engine cannot be told": (
        {"pgbouncer_users": [{"name": "with space", "pool_mode": "session"}]},
        ("'with space'", "1.25", "letters, digits and _.*-"),
    ),
    "a user name that is too long": (
        {"pgbouncer_users": [{"name": "ü" * 32, "console": "stats"}]},
        ("users[0].name", "64 bytes", "at most 63"),
    ),
    "a password that is too long": (
        {"pgbouncer_users": [{"name": "long", "password": "x" * 2048}]},
        ("users[0].password", "2047 bytes"),
    ),
}


@dataclass(frozen=True)
class Refusals:
    """What became of all mistakes in one run: the messages, and the host before and after."""

    run: Run
    messages: dict[str, str]
    before: str
    after: str


@pytest.fixture(scope="module")
def refusals(lab: Scenario, pooler: Remote, tmp_path_factory: pytest.TempPathFactory) -> Refusals:
    directory = tmp_path_factory.mktemp("refused")
    playbook = directory / "refused.yml"
    names = dict(enumerate(MISTAKES))
    tasks = [_attempt(MISTAKES[name][0], directory / str(number)) for number, name in names.items()]
    playbook.write_text(yaml.safe_dump([{"hosts": "pooler", "gather_facts": False, "tasks": tasks}]))
    before = pooler.state()
    done = run(lab, str(playbook))
    found = {name: (directory / str(number)).read_text() for number, name in names.items()}
    return Refusals(done, found, before, pooler.state())


def _attempt(variables: dict[str, Any], place: Path) -> dict[str, Any]:
    """The role with a mistake, and a record of what it said; a role that does not fail writes an empty one."""
    record = {
        "delegate_to": "localhost",
        "vars": {"ansible_become": False},
        "ansible.builtin.copy": {"content": "{{ ansible_failed_result.msg | default('') }}", "dest": str(place)},
    }
    settings = {"pgbouncer_patroni": ["https://127.0.0.1:8008"], **variables}
    return {
        "name": "A mistake",
        "block": [
            {"ansible.builtin.include_role": {"name": ROLE}, "vars": settings},
            {**record, "name": "Nothing was said"},
        ],
        "rescue": [{**record, "name": "What was said"}],
    }


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_named_with_its_place_and_what_is_allowed(refusals: Refusals, mistake: str) -> None:
    assert refusals.messages[mistake], refusals.run.tail()
    missing = [words for words in MISTAKES[mistake][1] if words not in refusals.messages[mistake]]
    assert missing == [], refusals.messages[mistake]


def test_no_mistake_shows_a_traceback(refusals: Refusals) -> None:
    assert "Traceback" not in refusals.run.output


def test_mistakes_are_found_before_the_host_is_touched(refusals: Refusals) -> None:
    assert refusals.run.all_execs() == 0
    assert refusals.after == refusals.before


def test_a_missing_image_is_an_error_that_says_how_to_bring_it(lab: Scenario, pooler: Remote) -> None:
    before = pooler.state()
    done = site(lab, "--limit", POOLER, variables={"pgbouncer_image": "registry.invalid/pooler:9"})
    assert done.status != 0
    assert len(done.errors()) == 1
    assert "registry.invalid/pooler:9 is not on the host" in done.errors()[0]
    assert pooler.state() == before


def test_an_unreachable_host_is_one_error_and_the_other_host_is_served(lab: Scenario, tmp_path: Path) -> None:
    gone = tmp_path / "gone.yml"
    address = lab.addresses[POOLER].rpartition(".")[0] + ".99"
    host = {"gone": {"ansible_host": address, "ansible_ssh_common_args": "-o ConnectTimeout=3"}}
    gone.write_text(yaml.safe_dump({"pooler": {"hosts": host}}))
    done = site(lab, "--inventory", str(gone), "--limit", f"{POOLER},gone")
    assert done.recap("gone")["unreachable"] == 1
    assert len(done.errors()) == 1, done.errors()
    assert done.recap(POOLER)["failed"] == done.recap(POOLER)["changed"] == 0


@pytest.fixture(params=["/var/lib/pgfleet", "/etc/pgbouncer/releases"])
def full_disk(pooler: Remote, request: pytest.FixtureRequest) -> Iterator[str]:
    """No space in one directory, which keeps what it holds."""
    place: str = request.param
    pooler.sh(
        f"mkdir -p {place}; cp -a {place} /run/kept; mount -t tmpfs -o size=64k tmpfs {place}\n"
        f"cp -a /run/kept/. {place}; rm -r /run/kept; cat /dev/zero > {place}/filler 2>/dev/null || :"
    )
    yield place
    pooler.sh(f"umount {place}; rmdir /var/lib/pgfleet 2>/dev/null || :")


def test_a_full_disk_is_one_error_and_the_instances_go_on_with_what_they_have(
    lab: Scenario, pooler: Remote, full_disk: str
) -> None:
    before = pooler.state()
    serving = pooler.console(50001, "SHOW CONFIG")
    done = site(lab, "--limit", POOLER, variables={"pgbouncer_settings": {"server_lifetime": 1234}})
    assert done.status != 0
    assert len(done.errors()) == 1, done.errors()
    assert "No space left on device" in done.errors()[0]
    # A release that did not fit may lie beside the one in force; the next run completes or removes it.
    after = [line for line in pooler.state().splitlines() if not _unfinished(line, before)]
    assert after == before.splitlines()
    assert pooler.console(50001, "SHOW CONFIG") == serving
    assert clients.by_psycopg(lab, "app", "app") == ("app", "app")


def _unfinished(line: str, before: str) -> bool:
    directory = "/".join(line.partition(" ")[0].split("/")[:4])
    return directory.startswith("etc/pgbouncer/releases/") and directory not in before


def test_after_the_trouble_a_run_finds_nothing_left_to_do(lab: Scenario) -> None:
    assert site(lab, "--limit", POOLER).recap(POOLER)["changed"] == 0
