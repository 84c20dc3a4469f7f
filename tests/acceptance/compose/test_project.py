"""What is otherwise in a Compose project than on a pooler host, and has to be as closed."""

from __future__ import annotations

import psycopg
import pytest

from tests.acceptance import clients, health
from tests.acceptance.remote import Remote
from tests.acceptance.scenario import CONSOLES, Scenario

SERVICES = ("pgbouncer-50001", "pgbouncer-50002", "pgbouncer-agent", "project_network_1")


def test_it_says_that_it_serves(lab: Scenario) -> None:
    status, said = health.ask(lab, "/ready")
    assert status == 200, said
    assert {name for name, each in said["instances"].items() if each["ready"]} == set(map(str, CONSOLES))


def test_whoever_is_not_the_agent_gets_into_its_databases_by_no_way(lab: Scenario, pooler: Remote) -> None:
    for database in ("pgbouncer_agent", "pgbouncer_auth"):
        with pytest.raises(psycopg.OperationalError, match=r"reject|no such database"):
            clients.connect(lab, database=database).close()
    for console in CONSOLES:
        socket = f"/run/pgbouncer/{console}/.s.PGSQL.6432"
        assert pooler.sh(f"podman exec pgbouncer-{console} stat -c '%a %u' {socket}").split() == ["600", "6432"]


def test_postgresql_is_reached_through_the_pool_alone(lab: Scenario) -> None:
    with pytest.raises(psycopg.OperationalError, match="refused"):
        clients.connect(lab, port=5432).close()


@pytest.mark.parametrize("name", SERVICES)
def test_seen_from_inside_a_container_can_do_next_to_nothing(pooler: Remote, name: str) -> None:
    lines = pooler.sh(f"podman exec {name} cat /proc/1/status").splitlines()
    status = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
    assert {*status["Uid"].split(), *status["Gid"].split()} == {"6432"}
    assert {int(status[each], 16) for each in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {0}
    assert status["NoNewPrivs"] == "1"
    assert status["Seccomp"] == "2"
    for place in ("/", "/usr", "/etc"):
        assert "Read-only" in pooler.sh(f"podman exec {name} touch {place}/written 2>&1 || :")


def test_of_a_listed_user_only_the_verifier_is_on_the_host(lab: Scenario, pooler: Remote) -> None:
    """In the userlist, where the role of that name in PostgreSQL is made, and in PostgreSQL itself."""
    verifier = next(user["verifier"] for user in lab.variables["pgbouncer_users"] if user["name"] == "listed")
    search = "grep --recursive --text --fixed-strings --files-with-matches --exclude-dir=project_data"
    places = pooler.sh(f"{search} '{verifier}' /etc /run /var /tmp || :").split()
    assert places
    assert {place.rpartition("/")[2] for place in places} == {"userlist.txt", "prepare.json"}
