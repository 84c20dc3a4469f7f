"""A cluster of three through changes, losses and its removal, in the order of its life."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.health import until
from tests.acceptance.patroni import SERVERS, Cluster, Leaf
from tests.acceptance.playbook import Run, run, site
from tests.acceptance.remote import Remote
from tests.acceptance.scenario import Scenario
from tests.lab import life, state
from tests.secret_search import search

REFUSED = r"(?i)unknown ca|reset|eof|closed"
CONFIGURE = "pgfleet.pooler.spilo : Configuration of the cluster"


@pytest.fixture(scope="module")
def cluster(lab: Scenario) -> Cluster:
    return Cluster(lab)


@pytest.fixture(scope="module")
def poolers_leaf(lab: Scenario, cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Leaf:
    return cluster.leaf(lab.root.parent, tmp_path_factory.mktemp("leaf"))


def dynamic(configuration: dict[str, Any], **variables: Any) -> dict[str, Any]:
    return {"spilo_configuration": {"bootstrap": {"dcs": configuration}}, **variables}


def parameters(**settings: Any) -> dict[str, Any]:
    return {"postgresql": {"parameters": settings}}


def with_orders_of_controller(lab: Scenario) -> dict[str, Any]:
    return dynamic(parameters(max_connections=240), database_orders_from=[state.read_spec(lab.name).controller])


def changed(done: Run) -> dict[str, int]:
    assert done.status == 0, done.tail()
    return {server: done.recap(server)["changed"] for server in SERVERS}


def test_every_member_is_there_with_a_synchronous_standby(cluster: Cluster) -> None:
    assert until(cluster.well)
    assert until(lambda: [member["role"] for member in cluster.members().values()].count("sync_standby") == 1)


def test_what_makes_failovers_short_is_in_force(cluster: Cluster) -> None:
    config = cluster.get("db1", "/config")
    wanted = {"ttl": 20, "loop_wait": 5, "retry_timeout": 7, "failsafe_mode": True, "synchronous_mode": True}
    assert {name: config[name] for name in wanted} == wanted
    assert set(cluster.setting("wal_sender_timeout").values()) == {"10s"}


def test_a_run_without_a_change_asks_patroni_once_for_the_whole_cluster(lab: Scenario) -> None:
    again = site(lab)
    assert changed(again) == dict.fromkeys(SERVERS, 0)
    assert again.execs(CONFIGURE) == 1


def test_nobody_opens_etcd_with_a_certificate_of_the_poolers(
    lab: Scenario, cluster: Cluster, poolers_leaf: Leaf, tmp_path: Path
) -> None:
    written = {"key": base64.b64encode(b"/service/spilo/x").decode(), "value": base64.b64encode(b"x").decode()}
    for server in SERVERS:
        with pytest.raises(OSError, match=REFUSED):
            cluster.ask_etcd(server, "/v3/kv/put", written, poolers_leaf)
    # With one of etcd's own authority it opens, so that it is the authority that decides.
    own = cluster.leaf(lab.root.parent / "etcd", tmp_path)
    assert cluster.ask_etcd("db1", "/v3/kv/range", {"key": written["key"]}, own)[0] == 200


def test_patroni_answers_questions_of_poolers_and_takes_no_orders_of_strangers(
    cluster: Cluster, poolers_leaf: Leaf
) -> None:
    for server in SERVERS:
        assert cluster.ask(server, "GET", "/cluster", leaf=poolers_leaf)[0] == 200
        assert cluster.ask(server, "GET", "/cluster")[0] == 200
        for leaf in (poolers_leaf, None):
            assert cluster.ask(server, "PATCH", "/config", {"ttl": 40}, leaf)[0] == 403
            assert cluster.ask(server, "POST", "/restart", {}, leaf)[0] == 403
    assert cluster.get("db1", "/config")["ttl"] == 20


def test_a_change_by_somebody_else_is_shown_and_taken_back_and_his_own_settings_stay(
    lab: Scenario, cluster: Cluster
) -> None:
    cluster.tell(cluster.replicas()[0], "PATCH", "/config", {"ttl": 45, **parameters(work_mem="7MB")})
    shown = site(lab, "--check", "--diff")
    assert sum(changed(shown).values()) == 1
    assert '-  "ttl": 45' in shown.output
    assert '+  "ttl": 20' in shown.output
    assert cluster.get("db1", "/config")["ttl"] == 45
    assert sum(changed(site(lab)).values()) == 1
    config = cluster.get("db1", "/config")
    assert (config["ttl"], config["postgresql"]["parameters"]["work_mem"]) == (20, "7MB")
    assert sum(changed(site(lab)).values()) == 0


def test_a_setting_that_is_reloaded_restarts_nobody_and_is_in_force_everywhere(lab: Scenario, cluster: Cluster) -> None:
    before = cluster.since()
    changed(site(lab, variables=dynamic(parameters(log_min_duration_statement=251))))
    assert set(cluster.setting("log_min_duration_statement").values()) == {"251ms"}
    assert cluster.since() == before


def test_more_connections_restart_the_replicas_in_turn_and_the_leader_when_allowed(
    lab: Scenario, cluster: Cluster
) -> None:
    leader, before = cluster.leader(), cluster.since()
    done = site(lab, variables=dynamic(parameters(max_connections=230)))
    changed(done)
    assert f"due for a restart, and left because the leader may not be restarted: {leader}" in done.output
    after = cluster.since()
    assert {server for server in SERVERS if after[server] != before[server]} == {*SERVERS} - {leader}
    assert cluster.setting("max_connections") == {server: "200" if server == leader else "230" for server in SERVERS}
    again = site(lab, variables=dynamic(parameters(max_connections=230)))
    assert sum(changed(again).values()) == 0
    changed(site(lab, variables=dynamic(parameters(max_connections=230), spilo_restart_leader=True)))
    assert set(cluster.setting("max_connections").values()) == {"230"}
    last = cluster.since()
    assert {server for server in SERVERS if last[server] != after[server]} == {leader}


def test_fewer_connections_restart_the_leader_before_its_replicas(lab: Scenario, cluster: Cluster) -> None:
    leader = cluster.leader()
    changed(site(lab, variables={"spilo_restart_leader": True}))
    assert set(cluster.setting("max_connections").values()) == {"200"}
    since = cluster.since()
    assert min(since, key=lambda server: since[server]) == leader
    assert until(cluster.well)


def test_nobody_is_restarted_while_a_member_is_lost(lab: Scenario, cluster: Cluster) -> None:
    lost, kept = cluster.replicas()
    before = {server: cluster.get(server, "/patroni")["postmaster_start_time"] for server in SERVERS if server != lost}
    life.kill(lab.name, lost)
    try:
        assert until(lambda: lost not in cluster.members(), 60)
        done = site(lab, variables=dynamic(parameters(max_connections=240)))
        assert done.status != 0
        assert "there are 2 members, not 3: no restart now" in done.output
        assert {
            server: cluster.get(server, "/patroni")["postmaster_start_time"] for server in SERVERS if server != lost
        } == before
        assert cluster.get(kept, "/patroni").get("pending_restart") is True
    finally:
        life.boot(lab.name, lost)
    assert until(cluster.well, 90)
    changed(site(lab, variables=dynamic(parameters(max_connections=240), spilo_restart_leader=True)))
    assert set(cluster.setting("max_connections").values()) == {"240"}


def test_rules_for_logins_change_without_a_restart_and_broken_ones_never_come_into_force(
    lab: Scenario, cluster: Cluster
) -> None:
    def rules(last: str) -> dict[str, Any]:
        lines = ["local all all trust", "local replication standby trust"]
        lines += [f"hostssl {what} all cert map=patroni" for what in ("replication standby", "all postgres")]
        variables = dynamic(parameters(max_connections=240))
        variables["spilo_configuration"]["postgresql"] = {"pg_hba": [*lines, last]}
        return variables

    before = cluster.since()
    done = site(lab, variables=rules("hostssl all app all nonsense"))
    assert done.status != 0
    assert "pg_hba.conf, line 5: invalid authentication method" in done.output
    now = {server: Remote(lab, server).sql("SELECT clock_timestamp()") for server in SERVERS}
    changed(site(lab, variables=rules("hostssl all app all scram-sha-256")))
    for server in SERVERS:
        found = Remote(lab, server).sql("SELECT user_name FROM pg_hba_file_rules ORDER BY rule_number DESC LIMIT 1")
        assert found == "{app}"
        assert Remote(lab, server).sql(f"SELECT pg_conf_load_time() > '{now[server]}'") == "t"
    assert cluster.since() == before


def test_who_may_give_orders_is_changed_replica_by_replica_and_the_leader_after_a_switchover(
    lab: Scenario, cluster: Cluster, poolers_leaf: Leaf
) -> None:
    allowed = with_orders_of_controller(lab)
    leader = cluster.leader()
    done = site(lab, variables=allowed)
    changed(done)
    assert f"{leader} leads, so its restart is left" in done.output
    assert cluster.leader() == leader
    for server in SERVERS:
        status, _words = cluster.ask(server, "POST", "/reload", {}, poolers_leaf)
        assert status == (403 if server == leader else 202)
        assert cluster.ask(server, "POST", "/reload", {})[0] == 403
    replica = cluster.replicas()[0]
    status, words = cluster.ask(replica, "POST", "/switchover", {"leader": leader}, poolers_leaf)
    assert (status, "Successfully switched over" in words) == (200, True), words
    assert until(cluster.well, 60)
    changed(site(lab, variables=allowed))
    assert cluster.ask(leader, "POST", "/reload", {}, poolers_leaf)[0] == 202
    assert sum(changed(site(lab, variables=allowed)).values()) == 0


def test_another_authority_takes_over_under_the_cluster_and_nothing_of_the_old_one_opens_it(
    lab: Scenario, cluster: Cluster, poolers_leaf: Leaf, tmp_path: Path
) -> None:
    leader, since = cluster.leader(), cluster.since()
    etcds_leaf = cluster.leaf(lab.root.parent / "etcd", tmp_path)
    question = {"key": base64.b64encode(b"/service/spilo/leader").decode()}
    for server in SERVERS:
        assert cluster.ask(server, "GET", "/cluster", leaf=poolers_leaf)[0] == 200
        assert cluster.ask_etcd(server, "/v3/kv/range", question, etcds_leaf)[0] == 200

    done = run(
        lab,
        "pgfleet.pooler.rotate_certificates",
        variables={**with_orders_of_controller(lab), "rotate_certificates": "authority"},
    )

    assert all(changed(done).values())
    assert (cluster.leader(), cluster.since()) == (leader, since), cluster.journal()
    for server in SERVERS:
        with pytest.raises(OSError, match=REFUSED):
            cluster.ask(server, "GET", "/cluster", leaf=poolers_leaf)
        with pytest.raises(OSError, match=REFUSED):
            cluster.ask_etcd(server, "/v3/kv/range", question, etcds_leaf)
        assert cluster.ask(server, "GET", "/cluster", leaf=cluster.leaf(lab.root.parent, tmp_path))[0] == 200
        assert search(Remote(lab, server).sh, lab.tokens) == set()
    assert until(cluster.well)
    assert sum(changed(site(lab, variables=with_orders_of_controller(lab))).values()) == 0


def test_a_cluster_is_taken_away_with_its_data_kept_and_again_changes_nothing(lab: Scenario) -> None:
    taken = run(lab, "pgfleet.pooler.remove", variables={"remove_cluster": True})
    assert all(changed(taken).values())
    again = run(lab, "pgfleet.pooler.remove", variables={"remove_cluster": True})
    assert changed(again) == dict.fromkeys(SERVERS, 0)
    for server in SERVERS:
        left = Remote(lab, server).sh("podman ps --all --quiet; ls /var/lib/spilo /etc/pgfleet 2>&1 || :")
        assert "pgroot" in left
        assert "/etc/pgfleet': No such file" in left


def test_it_comes_back_with_its_data(lab: Scenario, cluster: Cluster) -> None:
    changed(site(lab))
    assert until(cluster.well, 60)
    assert json.loads(cluster.tell("db1", "GET", "/history", {})), "a switchover before the removal is remembered"
