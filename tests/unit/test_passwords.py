"""Passwords of our own roles, and who comes to the console by what."""

from __future__ import annotations

import secrets
from typing import Any

import pytest

from pooler import bundle, hba, scram, userlist, variables
from pooler.agent.config import CONFIG, AgentConfig
from pooler.bundle import Bundle
from pooler.errors import InvalidError
from pooler.hba import Rule
from pooler.model import Pooler
from tests.unit.test_plan import FACTS


def pooler(**changed: Any) -> Pooler:
    given = {"image": "localhost/i", "patroni": ["https://db1:8008"], "databases": [{"name": "app"}]}
    return variables.read(given | changed)


def refused(**changed: Any) -> str:
    with pytest.raises(InvalidError) as error:
        pooler(**changed)
    return str(error.value)


def text(made: Bundle, name: str) -> str:
    return next(file.content.decode() for file in made.files if file.path.endswith(name))


def test_by_default_no_password_of_ours_is_anywhere() -> None:
    made = bundle.build(pooler(), FACTS)
    listed = userlist.parse(text(made, "userlist.txt"))
    assert all(scram.is_verifier(secret) for secret in listed.values())
    assert made.agent
    assert not made.agent.secret
    assert AgentConfig.from_json(made.agent.content.decode(), name=CONFIG).password is None


def test_the_password_of_our_role_is_where_engine_and_agent_need_it_and_nowhere_else() -> None:
    password = secrets.token_hex(12)
    made = bundle.build(pooler(auth_query={"password": password}), FACTS)
    assert userlist.parse(text(made, "userlist.txt")) == {"pgbouncer": password}
    assert made.agent
    assert AgentConfig.from_json(made.agent.content.decode(), name=CONFIG).password == password
    holding = [file for file in made.files if password.encode() in file.content]
    assert {file.path.rpartition("/")[2] for file in holding} == {"userlist.txt", "agent.json"}
    assert all(file.secret and file.mode == 0o600 for file in holding)


def test_an_agent_with_a_role_of_its_own_has_its_own_password() -> None:
    ours, agents = secrets.token_hex(12), secrets.token_hex(12)
    made = bundle.build(pooler(auth_query={"password": ours}, agent={"role": "watcher", "password": agents}), FACTS)
    assert userlist.parse(text(made, "userlist.txt")) == {"pgbouncer": ours, "watcher": agents}
    assert made.agent
    assert AgentConfig.from_json(made.agent.content.decode(), name=CONFIG).password == agents


def test_nobody_logs_in_as_a_role_whose_password_the_userlist_has() -> None:
    """The agent alone does, at its own database, before that."""
    rules = hba.parse(text(bundle.build(pooler(auth_query={"password": "x"}), FACTS), "hba.conf"))
    closed = [
        Rule("host", ("all",), ("pgbouncer",), "all", "reject"),
        Rule("local", ("all",), ("pgbouncer",), None, "reject"),
    ]
    at = rules.index(closed[0])
    assert list(rules[at : at + 2]) == closed
    assert [rule.method for rule in rules[:at]] == ["reject", "trust", "reject"]
    assert closed[0] not in hba.parse(text(bundle.build(pooler(), FACTS), "hba.conf"))


def test_back_to_the_certificate_no_password_stays() -> None:
    before = {"pgbouncer": secrets.token_hex(12)}
    made = bundle.build(pooler(), bundle.Facts(FACTS.leader, FACTS.server_leaf, FACTS.client_leaf, before))
    assert scram.is_verifier(userlist.parse(text(made, "userlist.txt"))["pgbouncer"])


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"auth_query": {"password": scram.verifier("x")}}, "auth_query.password is a verifier"),
        ({"auth_query": {"password": ""}}, "auth_query.password is empty"),
        ({"auth_query": {"password": "a\nb"}}, "auth_query.password is empty or has a NUL or a line end"),
        ({"agent": {"password": "x"}}, "agent.password is another than that of auth_query"),
        ({"agent": {"role": "watcher", "password": "x" * 2048}}, "agent.password is longer than 2047"),
    ],
)
def test_what_is_wrong_with_a_password_of_ours_is_said_without_it(changed: dict[str, Any], said: str) -> None:
    assert said in refused(**changed).replace(":", "")


def test_a_seat_by_certificate_needs_the_certificate_and_gets_no_password() -> None:
    users = [
        {"name": 'w "x"', "console": "stats", "certificate": True},
        {"name": "bob", "verifier": scram.verifier("x")},
    ]
    made = bundle.build(pooler(users=users), FACTS)
    rules = hba.parse(text(made, "hba.conf"))
    (rule,) = [rule for rule in rules if rule.method == "cert"]
    assert rule == Rule("hostssl", ("pgbouncer",), ('w "x"',), "all", "cert")
    assert rules.index(rule) < rules.index(next(rule for rule in rules if rule.method == "scram-sha-256"))
    assert userlist.parse(text(made, "userlist.txt"))['w "x"'] == ""
    assert 'stats_users = w "x"' in text(made, "50001.ini")


@pytest.mark.parametrize("secret", [{"password": "x"}, {"verifier": scram.verifier("x")}])
def test_statistics_by_password_are_refused_as_long_as_the_engine_mixes_up_users(secret: dict[str, str]) -> None:
    users = [{"name": "watcher", "console": "stats", **secret}]
    assert "users[0].console: is stats, by a password" in refused(users=users)
    assert "CVE-2026-107350" in refused(users=users, engine_version="1.26.0")
    assert pooler(users=users, engine_version="1.26.1").users[0].console == "stats"
    assert pooler(users=[users[0] | {"console": "admin"}]).users[0].console == "admin"


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ({"certificate": True}, "no seat at the console"),
        ({"certificate": True, "console": "admin", "password": "x"}, "both a certificate and a password"),
        ({"certificate": True, "console": "admin", "verifier": scram.verifier("x")}, "both a certificate and a"),
    ],
)
def test_a_certificate_is_for_a_seat_and_instead_of_a_password(entry: dict[str, Any], said: str) -> None:
    assert said in refused(users=[{"name": "ops", **entry}])
