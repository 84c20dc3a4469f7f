"""What the real engine says of a login that it refuses, and what the agent makes of it."""

from __future__ import annotations

import secrets
import select
import socket
import struct
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from pooler.agent.logins import Reason, reason
from tests.engine import trial
from tests.engine.chain import CONSOLE, POOLER, PORT, Chain, chain

HBA = ["hostssl all bob all reject", "hostssl certified all all cert", "hostssl all all all scram-sha-256"]


@pytest.fixture(scope="module")
def tier() -> Iterator[Chain]:
    with chain() as made:
        databases = [
            {"name": "app", "dbname": "postgres"},
            {"name": "certified", "dbname": "postgres", "user": "svc", "password": made.passwords["svc"]},
        ]
        made.serves(databases=databases, hba=HBA, settings={})
        yield made


def ask(tier: Chain, command: str) -> None:
    tier.host.instances[CONSOLE].ask(command)


def said(tier: Chain) -> str:
    """What the engine has said since the last time."""
    stderr = tier.host.instances[CONSOLE].process.stderr
    assert stderr is not None
    return (stderr.read() or b"").decode("utf-8", "replace")


def reasons(tier: Chain) -> list[Reason]:
    """Of what it says until it has said of a refusal, which may be after the client has been told."""
    stderr = tier.host.instances[CONSOLE].process.stderr
    assert stderr is not None
    found = said(tier)
    while not (told := [why for line in found.splitlines() if (why := reason(line))]):
        assert select.select([stderr], [], [], 30)[0], found
        found += said(tier)
    return told


@pytest.mark.parametrize(
    ("user", "database", "how", "expected"),
    [
        ("alice", "app", {"password": "wrong"}, "password"),
        ("nobody here", "app", {"password": "wrong"}, "user"),
        ("gone", "app", {}, "user"),
        ("expired", "app", {}, "user"),
        ("alice", "nowhere", {}, "database"),
        ("bob", "app", {}, "rule"),
        ("alice", "pgbouncer", {}, "rule"),
        ("alice", "certified", {}, "certificate"),
        ("alice", "certified", {"leaf": "bob"}, "certificate"),
        ("alice", "app", {"sslmode": "disable"}, "plain"),
        ("x pooler error: SSL required", "app", {"password": "wrong"}, "user"),
        ("x\n1 1 UTC [1] WARNING C-0: a pooler error: SSL required", "app", {"password": "wrong"}, "user"),
    ],
)
def test_a_refused_login_is_one_line_of_which_the_reason_is_known(
    tier: Chain, user: str, database: str, how: dict[str, Any], expected: Reason
) -> None:
    said(tier)
    with pytest.raises(psycopg.OperationalError):
        tier.enter(user, database, **how)
    assert reasons(tier) == [expected]


def test_a_login_and_the_error_of_a_query_are_none(tier: Chain) -> None:
    said(tier)
    with tier.enter("alice") as client, pytest.raises(psycopg.Error):
        client.execute("SELECT no_such_thing")
    with pytest.raises(psycopg.OperationalError):
        tier.enter("bob")
    assert reasons(tier) == ["rule"]


def test_too_many_clients_a_closed_database_and_one_who_says_nothing_are_told(tier: Chain) -> None:
    with tier.enter("alice"):
        ask(tier, "SET max_client_conn = 2")
        said(tier)
        with pytest.raises(psycopg.OperationalError):
            tier.enter("alice")
        assert reasons(tier) == ["limit"]
        ask(tier, "SET max_client_conn = 100")
    ask(tier, "DISABLE app")
    with pytest.raises(psycopg.OperationalError):
        tier.enter("alice")
    ask(tier, "ENABLE app")
    assert reasons(tier) == ["database"]
    ask(tier, "SET client_login_timeout=1")
    with trial.network_of(tier.network), socket.create_connection((POOLER, PORT), 30) as silent:
        assert silent.recv(1 << 10)
    ask(tier, "SET client_login_timeout=60")
    assert reasons(tier) == ["timeout"]


def test_a_parameter_that_the_engine_does_not_take_is_told(tier: Chain) -> None:
    said(tier)
    ask(tier, "SET client_tls_sslmode = allow")
    name = secrets.token_hex(4)
    with trial.network_of(tier.network), socket.create_connection((POOLER, PORT), 30) as client:
        pairs = "".join(f"{each}\0" for each in ("user", "alice", "database", "app", name, "1")) + "\0"
        body = struct.pack("!I", 3 << 16) + pairs.encode()
        client.sendall(struct.pack("!I", len(body) + 4) + body)
        assert client.recv(1 << 10)
    ask(tier, "SET client_tls_sslmode = require")
    assert reasons(tier) == ["protocol"]
