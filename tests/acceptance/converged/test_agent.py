"""The agent on its host: what it says, whom it obeys, what it puts right, and that nobody needs it to go on."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest

from tests.acceptance import clients, health
from tests.acceptance.playbook import run, site
from tests.acceptance.remote import Remote
from tests.acceptance.scenario import CONSOLES, DATABASE, POOLER, Scenario


def ready(lab: Scenario) -> bool:
    return health.ask(lab, "/ready")[0] == 200


def test_a_host_that_serves_says_so_and_names_the_leader(lab: Scenario) -> None:
    assert health.ask(lab, "/live")[0] == 200
    status, said = health.ask(lab, "/ready")
    assert status == 200, said
    assert said["leader"] == f"{lab.addresses[DATABASE]}:5432"
    assert {name for name, each in said["instances"].items() if each["ready"]} == set(map(str, CONSOLES))


def test_nobody_is_obeyed_without_the_poolers_certificate(lab: Scenario, pooler: Remote, tmp_path: Path) -> None:
    assert health.ask(lab, "/pause", method="POST")[0] == 403
    assert health.ask(lab, "/pause", method="POST", leaf=health.leaf(lab, "patroni", tmp_path))[0] == 403
    assert ["paused", "no"] in [row[:2] for row in pooler.console(CONSOLES[0], "SHOW STATE")]


def test_a_hosts_file_edited_by_hand_is_put_right(lab: Scenario, pooler: Remote) -> None:
    file = "/etc/pgbouncer/databases/databases.ini"
    before = pooler.sh(f"cat {file}")
    pooler.sh(f"sed -i 's/host={lab.addresses[DATABASE]}/host=192.0.2.1/' {file}")
    pooler.sh("".join(f"podman kill --signal HUP pgbouncer-{console}\n" for console in CONSOLES))
    assert health.until(lambda: pooler.sh(f"cat {file}") == before)
    assert health.until(lambda: ready(lab))
    assert clients.by_asyncpg(lab, "app", "app") == ("app", "app")
    assert site(lab, "--limit", POOLER).recap(POOLER)["changed"] == 0


def test_a_pause_is_told_survives_a_restart_and_is_ended_by_resume_alone(lab: Scenario, pooler: Remote) -> None:
    def paused(console: int) -> bool:
        rows = pooler.console(console, "SHOW DATABASES")
        at = rows[0].index("paused")
        return all(row[at] == "1" for row in rows[1:] if row[0] == "app") or ["paused", "yes"] in pooler.console(
            console, "SHOW STATE"
        )

    assert run(lab, "pgfleet.pooler.pause").recap(POOLER)["changed"] == 1
    assert health.until(lambda: not ready(lab))
    assert "paused" in health.ask(lab, "/ready")[1]["reason"]
    pooler.sh(f"systemctl restart pgbouncer@{CONSOLES[0]}")
    assert health.until(lambda: paused(CONSOLES[0]))
    pooler.sh("systemctl restart pgbouncer-agent")
    assert not ready(lab)
    assert run(lab, "pgfleet.pooler.resume").recap(POOLER)["changed"] == 1
    assert health.until(lambda: ready(lab))
    assert not any(map(paused, CONSOLES))
    assert run(lab, "pgfleet.pooler.resume").recap(POOLER)["changed"] == 0


@pytest.mark.parametrize("harm", ["podman kill pgbouncer-agent", "systemctl stop pgbouncer-agent"])
def test_clients_do_not_need_the_agent(lab: Scenario, pooler: Remote, harm: str) -> None:
    with clients.connect(lab) as connection:
        pooler.sh(harm)
        assert connection.execute("SELECT 1").fetchone() == (1,)
        assert clients.by_asyncpg(lab, "app", "app") == ("app", "app")
        assert site(lab, "--limit", POOLER).recap(POOLER)["failed"] == 0
        assert health.until(lambda: ready(lab))
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_the_agents_container_may_do_nothing_it_need_not(pooler: Remote) -> None:
    def inside(command: str) -> str:
        return pooler.sh(f"podman exec pgbouncer-agent sh -c '{command}' 2>&1 || :").strip()

    assert inside("id -u") == "6432"
    assert inside("grep CapBnd /proc/self/status").split()[-1].strip("0") == ""
    assert inside("grep NoNewPrivs /proc/self/status").split()[-1] == "1"
    for place in ("/", "/etc/pgbouncer", "/run/pgbouncer", "/tmp"):
        assert "Read-only" in inside(f"touch {place}/x"), place


def test_whoever_is_not_the_agent_gets_into_its_databases_by_no_way(lab: Scenario, pooler: Remote) -> None:
    for database in ("pgbouncer_agent", "pgbouncer_agent_replica", "pgbouncer_auth"):
        with pytest.raises(psycopg.OperationalError, match=r"reject|no such database"):
            clients.connect(lab, database=database).close()
    socket = f"/run/pgbouncer/{CONSOLES[0]}/.s.PGSQL.6432"
    assert pooler.sh(f"stat -c '%a %u' {socket}").split() == ["600", "6432"]
