"""The agent's role with a password instead of a certificate, at real servers."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterator

import pytest

from pooler import scram
from pooler.agent.config import AgentConfig
from pooler.server import Server
from pooler.switchover.sql import Database
from tests.engine.pair import HBA, ROLE, Pair, pair, until

ASKED = HBA.replace(f"hostssl all {ROLE} 127.0.0.0/8 cert", f"hostssl all {ROLE} 127.0.0.0/8 scram-sha-256")
PASSWORD = f"{secrets.token_hex(12)} \u2168 \u00e4"
"""With letters that SASLprep makes others of."""


@pytest.fixture
def two() -> Iterator[Pair]:
    with pair() as made:
        made.start_databases()
        first, second = made.databases
        first.sql(f"ALTER ROLE {ROLE} PASSWORD '{scram.verifier(PASSWORD)}'")
        for database in (first, second):
            database.rules(ASKED)
        made.start_instances(50001)
        yield made


def test_it_follows_the_leader_as_with_a_certificate(two: Pair) -> None:
    agent = two.start_agent(password=PASSWORD)
    wanted = {"127.0.0.11:5432": True, "127.0.0.12:5432": False}
    until(lambda: {name: each["writable"] for name, each in agent.ask("/status")[1]["servers"].items()} == wanted)


@pytest.mark.parametrize(
    ("password", "said"), [("wrong", "password authentication failed"), (None, "is asked for a password, and has none")]
)
def test_without_the_right_password_it_says_why(two: Pair, password: str | None, said: str) -> None:
    agent = two.start_agent(password=password)
    until(lambda: said in agent.ask("/status")[1]["servers"].get("127.0.0.11:5432", {}).get("error", ""))


@pytest.mark.parametrize(("password", "state"), [(PASSWORD, "writable"), (None, "silent")], ids=["with", "without"])
def test_a_switchover_asks_servers_with_it_too(two: Pair, password: str | None, state: str) -> None:
    leaf = str(two.place / "etc/leaf")
    config = AgentConfig(6432, (50001,), leaf, leaf, ROLE, "postgres", password)
    with two.inside(), contextlib.closing(Database(Server("127.0.0.11"), config, "pooler-switchover")) as database:
        assert database.state() == state
