"""Changes that harm nobody: what is refused leaves the old in force, what goes wrong goes back, who goes is out."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
import yaml

from tests.acceptance import clients
from tests.acceptance.playbook import Run, run
from tests.acceptance.remote import Remote
from tests.acceptance.scenario import CONSOLES, POOLER, Scenario

PLAYBOOK = str(Path(__file__).parents[1] / "playbooks/poolers.yml")


def change(lab: Scenario, *options: str, **variables: object) -> Run:
    return run(lab, PLAYBOOK, "--diff", *options, variables=variables)


@pytest.fixture(scope="module", autouse=True)
def as_before(lab: Scenario) -> Iterator[None]:
    yield
    assert change(lab).status == 0


def test_what_the_engine_refuses_on_trial_changes_nothing(lab: Scenario, pooler: Remote) -> None:
    before = pooler.state()
    refused = change(lab, pgbouncer_settings={"client_tls_ecdhcurve": "no-such-curve"})
    assert refused.recap(POOLER)["failed"] == 1
    assert "does not take the new configuration" in refused.output
    assert "no-such-curve" in refused.output
    assert pooler.state() == before
    assert clients.by_asyncpg(lab, "app", "app") == ("app", "app")


def test_an_instance_that_does_not_come_up_brings_the_old_files_back(lab: Scenario, pooler: Remote) -> None:
    files = pooler.sh("cd /etc && cat containers/systemd/pgbouncer@.container; readlink pgbouncer/current")
    failed = change(lab, pgbouncer_nofile=1_000_000)
    assert failed.recap(POOLER)["failed"] == 1
    assert "the old configuration is in force again" in failed.output
    assert pooler.sh("cd /etc && cat containers/systemd/pgbouncer@.container; readlink pgbouncer/current") == files
    assert [pooler.console(instance, "SHOW VERSION")[1] for instance in CONSOLES]
    assert change(lab).recap(POOLER)["changed"] == 0


def test_a_restart_for_a_new_unit_takes_one_instance_after_the_other(lab: Scenario, pooler: Remote) -> None:
    changed = change(lab, pgbouncer_nofile=8000)
    assert changed.recap(POOLER)["changed"] == 1, changed.tail()
    assert "rolling restart" in changed.output
    assert changed.output.index("instance 50001: draining") < changed.output.index("instance 50002: draining")
    assert change(lab).recap(POOLER)["changed"] == 1


def test_more_instances_and_fewer_leave_nothing_behind(lab: Scenario, pooler: Remote) -> None:
    before = pooler.sh("ls /run/pgbouncer /etc/containers/systemd /etc/systemd/system/sockets.target.wants")
    assert change(lab, pgbouncer_instances=3).recap(POOLER)["changed"] == 1
    assert pooler.console(50003, "SHOW VERSION")
    assert change(lab).recap(POOLER)["changed"] == 1
    assert pooler.sh("ls /run/pgbouncer /etc/containers/systemd /etc/systemd/system/sockets.target.wants") == before
    assert "50003" not in pooler.sh("podman ps --all; systemctl list-units --all 'pgbouncer*'")


def test_what_makes_clients_reconnect_needs_a_permit(lab: Scenario, pooler: Remote) -> None:
    before = pooler.state()
    refused = change(lab, pgbouncer_port=6433)
    assert refused.recap(POOLER)["failed"] == 1
    assert "pgbouncer_allow_disruption" in refused.output
    assert pooler.state() == before


def test_a_removed_user_is_out_at_once_and_his_neighbour_stays(lab: Scenario, tmp_path: Path) -> None:
    both = lab.variables["pgbouncer_users"]
    goes, stays = (entry["name"] for entry in both if entry.get("console"))
    with clients.console(lab, CONSOLES[0], goes) as gone, clients.console(lab, CONSOLES[0], stays) as kept:
        assert gone.execute("SHOW VERSION").fetchone()
        given = tmp_path / "users.yml"
        given.write_text(yaml.safe_dump({"pgbouncer_users": [entry for entry in both if entry["name"] != goes]}))
        changed = change(lab, "--extra-vars", f"@{given}")
        assert changed.recap(POOLER)["changed"] == 1, changed.tail()
        with pytest.raises(psycopg.OperationalError):
            gone.execute("SHOW VERSION")
        assert kept.execute("SHOW VERSION").fetchone()
    for console in CONSOLES:
        with pytest.raises(psycopg.OperationalError), clients.console(lab, console, goes):
            pytest.fail(f"{goes} has got into {console} again")
    assert change(lab, "--extra-vars", f"@{given}").recap(POOLER)["changed"] == 0


def test_a_drained_host_serves_nobody_and_comes_back(lab: Scenario, pooler: Remote) -> None:
    drained = run(lab, "pgfleet.pooler.drain")
    assert drained.recap(POOLER)["changed"] == 1, drained.tail()
    with pytest.raises(psycopg.OperationalError, match="refused"):
        clients.by_psycopg(lab, "app", "app")
    assert run(lab, "pgfleet.pooler.drain").recap(POOLER)["changed"] == 0
    assert change(lab).recap(POOLER)["changed"] == 1
    assert clients.by_psycopg(lab, "app", "app") == ("app", "app")
