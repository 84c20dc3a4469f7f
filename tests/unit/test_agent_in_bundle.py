"""The agent in the model, the bundle and the plan."""

from __future__ import annotations

import secrets
from dataclasses import replace
from typing import Any

import pytest

from pooler import bundle, ini, scram, userlist, variables
from pooler.agent.config import CONFIG, DATABASE, REPLICA_DATABASE, AgentConfig
from pooler.bundle import Bundle, Facts
from pooler.errors import InvalidError
from pooler.model import AUTH_DATABASE, Pooler
from pooler.observed import Agent
from pooler.plan import Effect, plan
from pooler.server import Server
from pooler.units import AGENT, LOGINS_SERVICE, LOGINS_SOCKET
from tests.unit.test_plan import FACTS, converged

REPLICAS = Server("10.0.0.2,10.0.0.3", 5432)


def pooler(**changed: Any) -> Pooler:
    databases = [{"name": "app"}, {"name": "reports", "target": "replica"}, {"name": "far", "host": "10.9.9.9"}]
    given = {"image": "localhost/i", "patroni": ["https://db1:8008"], "databases": databases}
    return variables.read(given | changed)


def config(made: Bundle) -> AgentConfig:
    assert made.agent
    return AgentConfig.from_json(made.agent.content.decode(), name=CONFIG)


def hosts(made: Bundle) -> dict[str, str | None]:
    return {name: entry.get("host") for name, entry in ini.parse(made.databases.content.decode()).databases.items()}


def test_the_agent_follows_every_database_without_a_host_of_its_own() -> None:
    followed = config(bundle.build(pooler(), FACTS)).targets
    assert followed == {
        "app": "leader",
        "reports": "replica",
        AUTH_DATABASE: "leader",
        DATABASE: "leader",
        REPLICA_DATABASE: "replica",
    }


def test_replicas_serve_their_databases_and_the_leader_while_none_is_known() -> None:
    assert hosts(bundle.build(pooler(), replace(FACTS, replicas=REPLICAS)))["reports"] == REPLICAS.host
    assert hosts(bundle.build(pooler(), FACTS))["reports"] == "10.0.0.1"


def test_a_way_back_keeps_the_leader_that_the_agent_has_found_meanwhile() -> None:
    old = bundle.build(pooler(), FACTS).databases.content.decode()
    now = bundle.build(pooler(databases=[]), replace(FACTS, leader=Server("10.0.0.2"))).databases.content.decode()
    text = bundle.repointed(old, now, bundle.targets(pooler()), (1, 24, 1))
    entries = ini.parse(text).databases
    assert entries[AUTH_DATABASE]["host"] == "10.0.0.2"
    assert entries["far"]["host"] == "10.9.9.9"
    assert entries["app"]["host"] == "10.0.0.1"


def test_a_pause_ends_before_the_engine_sends_waiting_clients_away() -> None:
    for waiting, limit in ((None, 60), (20, 10), (0, 60), (1000, 60)):
        settings = {} if waiting is None else {"query_wait_timeout": waiting}
        assert config(bundle.build(pooler(settings=settings), FACTS)).pause_limit == limit


def test_a_changed_configuration_restarts_the_agent_and_no_instance() -> None:
    before, after = pooler(), pooler(agent={"pause_on_loss": False})
    todo = plan(after, bundle.build(after, FACTS), converged(before, bundle.build(before, FACTS)))
    assert todo.agent
    assert (todo.effect, todo.reload, todo.restart, todo.start) == (Effect.NONE, (), (), ())
    assert {file.path for file in todo.write} == {CONFIG, AGENT}


def test_another_image_restarts_the_agent_too() -> None:
    made = bundle.build(pooler(), FACTS)
    observed = replace(converged(pooler(), made), agent=Agent(True, made.agent_digest, "e" * 64))
    assert plan(pooler(), made, observed).agent


def test_a_dead_agent_is_started_and_an_unwanted_one_taken_away() -> None:
    made = bundle.build(pooler(), FACTS)
    assert plan(pooler(), made, replace(converged(pooler(), made), agent=Agent(False))).agent

    without = pooler(agent={"enabled": False}, databases=[{"name": "app"}])
    todo = plan(without, bundle.build(without, FACTS), converged(pooler(), made))
    assert not todo.agent
    assert set(todo.delete) == {CONFIG, AGENT, LOGINS_SOCKET, LOGINS_SERVICE}


def test_a_host_marked_as_taken_out_is_brought_back() -> None:
    made = bundle.build(pooler(), FACTS)
    todo = plan(pooler(), made, replace(converged(pooler(), made), draining=True))
    assert todo.back
    assert todo.changes


def test_a_leader_that_the_agent_has_found_is_no_difference() -> None:
    made = bundle.build(pooler(), replace(FACTS, leader=Server("10.0.0.2")))
    moved = replace(bundle.build(pooler(), FACTS), databases=made.databases)
    assert moved.release == made.release
    found = converged(pooler(), made)
    assert {path: file.content for path, file in found.files.items()}[made.databases.path] == moved.databases.content
    assert not plan(pooler(), moved, found).changes


def test_a_password_for_patroni_is_in_a_file_of_the_engines_user_alone_and_in_no_diff() -> None:
    password = secrets.token_hex(8)
    wanted = pooler(agent={"patroni_user": "admin", "patroni_password": password})
    file = bundle.build(wanted, FACTS).agent
    assert file
    assert (file.mode, file.owner, file.secret) == (0o600, wanted.uid, True)
    assert password not in repr(wanted)
    assert password not in repr(config(bundle.build(wanted, FACTS)))


@pytest.mark.parametrize(
    ("changed", "place"),
    [
        ({"agent": {"enabled": False}}, "databases"),
        ({"databases": [{"name": "a", "host": "h", "target": "leader"}]}, "databases[0].target"),
        ({"databases": [{"name": "a", "target": "primary"}]}, "databases[0].target"),
        ({"databases": [{"name": DATABASE}]}, "databases[0].name"),
        ({"agent": {"port": "x"}}, "agent.port"),
        ({"agent": {"patroni_user": "x"}}, "agent"),
        ({"patroni": [], "userlist_only": True, "databases": [], "agent": {"enabled": True}}, "patroni"),
    ],
)
def test_what_the_agent_cannot_do_is_refused(changed: dict[str, Any], place: str) -> None:
    with pytest.raises(InvalidError) as refused:
        pooler(**changed)
    assert place in {problem.place for problem in refused.value.problems}


def test_where_nobody_is_to_be_asked_there_is_no_agent() -> None:
    alone = pooler(patroni=[], userlist_only=True, databases=[{"name": "far", "host": "10.9.9.9"}])
    made = bundle.build(alone, Facts())
    assert made.agent is None
    assert set(hosts(made)) == {"far"}


def test_the_engine_knows_the_agents_role_by_a_verifier_of_no_password_and_keeps_it() -> None:
    def listed(made: Bundle) -> dict[str, str]:
        (text,) = (file.content.decode() for file in made.release_files if file.secret)
        return userlist.parse(text, name="userlist.txt")

    first = listed(bundle.build(pooler(), FACTS))
    assert scram.is_verifier(first["pgbouncer"])
    assert not scram.verifies(first["pgbouncer"], "")
    assert listed(bundle.build(pooler(), replace(FACTS, verifiers=first))) == first
    assert "pgbouncer" not in listed(bundle.build(pooler(agent={"enabled": False}, databases=[]), FACTS))


def test_what_is_written_for_the_agent_is_read_by_it() -> None:
    given = config(bundle.build(pooler(listen=["10.0.0.9"], agent={"listen": ["10.0.0.9"], "port": 9200}), FACTS))
    assert (given.port, given.health_port, given.listen, given.consoles) == (6432, 9200, ("10.0.0.9",), (50001, 50002))


@pytest.mark.parametrize(
    ("given", "asked"),
    [
        ({}, True),
        ({"listen": ["127.0.0.1", "::1"]}, False),
        ({"listen": ["127.0.0.1", "10.0.0.5"]}, True),
        ({"metrics_certificate": False}, False),
        ({"listen": ["127.0.0.1"], "metrics_certificate": True}, True),
    ],
)
def test_metrics_are_for_those_with_a_certificate_off_the_loopback(given: dict[str, Any], asked: bool) -> None:
    assert config(bundle.build(pooler(agent=given), FACTS)).metrics_certificate is asked


def test_the_agent_knows_how_many_descriptors_an_instance_may_have() -> None:
    assert config(bundle.build(pooler(nofile=5000), FACTS)).nofile == 5000
    assert config(bundle.build(pooler(settings={"max_client_conn": 100}), FACTS)).nofile == 1224
