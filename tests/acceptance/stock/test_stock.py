"""A stock image: it opens its ports by itself, follows no leader, and everything else is as with ours."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest

from tests.acceptance import clients
from tests.acceptance.playbook import Run, run, site
from tests.acceptance.remote import Remote
from tests.acceptance.scenario import CONSOLES, DATABASE, POOLER, Scenario
from tests.lab.images import stock

PLAYBOOK = str(Path(__file__).parents[1] / "playbooks/poolers.yml")


def given(lab: Scenario) -> dict[str, object]:
    return {
        "pgbouncer_image": stock.REFERENCE,
        "pgbouncer_dispatch": "engine",
        "pgbouncer_patroni": [],
        "pgbouncer_server": lab.addresses[DATABASE],
        "pgbouncer_agent": {"enabled": False},
        "pgbouncer_drain_timeout": 2,
    }


def change(lab: Scenario, *options: str, **variables: object) -> Run:
    return run(lab, PLAYBOOK, "--diff", *options, variables={**given(lab), **variables})


@pytest.fixture(scope="module", autouse=True)
def converged(lab: Scenario) -> None:
    ended = site(lab, variables=given(lab))
    assert ended.status == 0, ended.tail()
    assert clients.by_asyncpg(lab, "app", "app") == ("app", "app")


def test_the_image_has_nothing_of_ours(pooler: Remote) -> None:
    inside = pooler.sh(
        "podman exec pgbouncer-50001 sh -c 'command -v psql; command -v pooler; command -v python3' || :"
    )
    assert inside.split() == ["/usr/local/bin/psql"]


def test_a_second_run_changes_nothing(lab: Scenario) -> None:
    again = site(lab, variables=given(lab))
    assert (again.recap(POOLER)["changed"], again.recap(DATABASE)["changed"]) == (0, 0), again.tail()


def test_a_change_is_reloaded(lab: Scenario, pooler: Remote) -> None:
    with clients.connect(lab) as kept:
        changed = change(lab, pgbouncer_settings={"max_db_connections": 77})
        assert changed.recap(POOLER)["changed"] == 1, changed.tail()
        assert kept.execute("SELECT 1").fetchone() == (1,)
    for instance in CONSOLES:
        shown = {row[0]: row[1] for row in pooler.console(instance, "SHOW CONFIG")}
        assert shown["max_db_connections"] == "39"


def test_what_the_engine_refuses_on_trial_changes_nothing(lab: Scenario, pooler: Remote) -> None:
    before = pooler.state()
    refused = change(lab, pgbouncer_settings={"client_tls_ecdhcurve": "no-such-curve"})
    assert "does not take the new configuration" in refused.output
    assert pooler.state() == before


def test_a_rolling_restart_ends_with_every_instance_serving(lab: Scenario, pooler: Remote) -> None:
    changed = change(lab, pgbouncer_settings={"pkt_buf": 16384})
    assert changed.recap(POOLER)["changed"] == 1, changed.tail()
    for instance in CONSOLES:
        shown = {row[0]: row[1] for row in pooler.console(instance, "SHOW CONFIG")}
        assert shown["pkt_buf"] == "16384"
    assert clients.by_psycopg(lab, "app", "app") == ("app", "app")
    assert change(lab, pgbouncer_settings={"pkt_buf": 16384}).recap(POOLER)["changed"] == 0


def test_more_instances_and_fewer(lab: Scenario, pooler: Remote) -> None:
    for count in (4, 1, 3, 2):
        changed = change(lab, pgbouncer_instances=count)
        assert changed.recap(POOLER)["changed"] == 1, changed.tail()
        running = pooler.sh("podman ps --format '{{.Names}}' | sort").split()
        assert running == [f"pgbouncer-{50001 + number}" for number in range(count)]
        assert clients.by_psycopg(lab, "app", "app") == ("app", "app")


def test_a_removed_user_is_out_and_his_neighbour_stays(lab: Scenario) -> None:
    with clients.connect(lab, "listed") as gone, clients.connect(lab) as kept:
        assert gone.execute("SELECT 1").fetchone() == (1,)
        assert change(lab, pgbouncer_users=[]).recap(POOLER)["changed"] == 1
        with pytest.raises(psycopg.OperationalError):
            gone.execute("SELECT 1")
        assert kept.execute("SELECT 1").fetchone() == (1,)
    assert change(lab).recap(POOLER)["changed"] == 1


def test_socket_dispatch_needs_our_image_and_says_so_before_anything_happens(lab: Scenario, pooler: Remote) -> None:
    before = pooler.state()
    refused = change(lab, pgbouncer_dispatch="socket", pgbouncer_allow_disruption=True)
    assert refused.recap(POOLER)["failed"] == 1
    assert "dispatch" in " ".join(refused.errors())
    assert pooler.state() == before
