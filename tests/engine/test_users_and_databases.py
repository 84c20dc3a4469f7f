"""The examples of the guides on the real engine: each starts, and shows what the example says."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from pooler import bundle, scram, variables
from pooler.bundle import Facts
from pooler.server import Server
from tests.engine.chain import Chain, chain
from tests.engine.miniature import TLS, Miniature, answers, certified, miniature
from tests.examples import examples, filled, options


@pytest.fixture(scope="module")
def host() -> Iterator[Miniature]:
    with miniature() as made:
        made.write(certified())
        yield made


@pytest.mark.parametrize("text", examples("yaml"))
def test_example_starts_on_the_real_engine(host: Miniature, text: str) -> None:
    # The instances open their ports by themselves, as there is no systemd.
    pooler = variables.read(options(filled(text)) | {"instances": 1, "dispatch": "engine"})
    facts = Facts(Server("10.0.1.11"), f"{TLS}/server/01", f"{TLS}/client/01", replicas=Server("10.0.2.11"))
    host.fresh(bundle.build(pooler, facts), *pooler.consoles)
    shown = answers(host.instances[pooler.consoles[0]])
    rows = {row["name"]: row for row in shown["DATABASES"]}
    users = {row["name"]: row for row in shown["USERS"]}
    for database in pooler.databases:
        for name, value in database.settings.items():
            found = {"dbname": "database"}.get(name, name)
            assert rows[database.name].get(found, value) == value
    for user in pooler.users:
        for name, value in user.settings.items():
            assert users[user.name].get(name, value).strip() == value


@pytest.fixture(scope="module")
def tier() -> Iterator[Chain]:
    with chain() as made:
        yield made


def test_new_role_logs_in_without_a_run_and_a_dropped_one_does_not(tier: Chain) -> None:
    tier.create("newcomer")
    assert tier.lets_in("newcomer")
    tier.owner.execute("DROP ROLE newcomer")
    assert not tier.lets_in("newcomer")


def test_user_of_the_userlist_needs_the_verifier_that_postgresql_has(tier: Chain) -> None:
    (same,) = tier.owner.execute("SELECT rolpassword FROM pg_authid WHERE rolname = 'alice'").fetchone() or ("",)
    databases = [{"name": "app", "dbname": "postgres"}]
    tier.serves(databases=databases, users=[{"name": "alice", "verifier": same}])
    assert tier.lets_in("alice")
    tier.serves(databases=databases, users=[{"name": "alice", "verifier": scram.verifier(tier.passwords["alice"])}])
    assert not tier.lets_in("alice"), "the very same password, with another salt"


def test_limits_of_a_user_hold_for_one_that_is_in_no_userlist(tier: Chain) -> None:
    users: list[dict[str, Any]] = [{"name": "bob", "max_user_client_connections": 1, "pool_mode": "session"}]
    tier.serves(databases=[{"name": "app", "dbname": "postgres"}], users=users)
    with tier.enter("bob") as first:
        assert not tier.lets_in("bob")
        first.execute("SET statement_timeout = '1234ms'")
        with tier.enter("alice") as other:
            assert other.execute("SHOW statement_timeout").fetchone() == ("0",)
        assert first.execute("SHOW statement_timeout").fetchone() == ("1234ms",), "its pool is in session mode"


def test_rules_keep_a_user_out_of_a_database(tier: Chain) -> None:
    rules = ["hostssl payroll bob 127.0.0.0/8 scram-sha-256", "hostssl payroll all all reject"]
    rules.append("hostssl all all 127.0.0.0/8 scram-sha-256")
    databases = [{"name": name, "dbname": "postgres"} for name in ("app", "payroll")]
    tier.serves(databases=databases, hba=rules)
    assert [tier.lets_in(user, "payroll") for user in ("alice", "bob")] == [False, True]
    assert [tier.lets_in(user, "app") for user in ("alice", "bob")] == [True, True]
