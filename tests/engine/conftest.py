"""Fixtures of several files. The collection is imported as Ansible does it, from the link below build/."""

from __future__ import annotations

import secrets
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "build"))

from pooler import scram
from pooler.sql import identifier, literal
from tests.engine import trial
from tests.engine.cluster import KINDS, PASSWORD, Connection, Server, audit, repair, run


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    place = tmp_path_factory.mktemp("pg")
    with trial.postgresql(place):
        yield Server(place)


@pytest.fixture(scope="module")
def owner(server: Server) -> Iterator[Connection]:
    """The superuser's connection, in a cluster with bystanders that no repair may touch."""
    with server.connect() as connection:
        run(
            connection,
            f"CREATE ROLE mallory LOGIN PASSWORD {literal(scram.verifier(PASSWORD))}",
            "CREATE ROLE team",
            "CREATE ROLE deputy SUPERUSER LOGIN",
            "CREATE SCHEMA shop AUTHORIZATION mallory",
            "CREATE TYPE shop.thing AS (a int)",
            "GRANT USAGE ON SCHEMA shop TO PUBLIC, team",
            "CREATE FUNCTION shop.get_auth(text) RETURNS text LANGUAGE sql AS 'SELECT $1'",
            "GRANT EXECUTE ON FUNCTION shop.get_auth(text) TO team WITH GRANT OPTION",
            "GRANT team TO mallory",
        )
        yield connection


@pytest.fixture
def installed(owner: Connection) -> Connection:
    """A cluster with sound objects of ours, made anew."""
    run(owner, "DROP SCHEMA IF EXISTS pgbouncer CASCADE", "GRANT CONNECT ON DATABASE postgres TO PUBLIC")
    if audit(owner)["role"] is not None:
        run(owner, "DROP OWNED BY pgbouncer", "DROP ROLE pgbouncer")
    assert repair(owner) != ""
    assert repair(owner) == ""
    return owner


@pytest.fixture
def kinds(installed: Connection) -> Iterator[dict[str, str]]:
    """Roles of all kinds, named by their kind, and their verifiers."""
    verifiers = {name: scram.verifier(secrets.token_urlsafe()) for name in KINDS}
    for name, (attributes, _) in KINDS.items():
        run(installed, f"CREATE ROLE {identifier(name)} {attributes} PASSWORD {literal(verifiers[name])}")
    run(installed, 'CREATE ROLE "no password" LOGIN')
    yield verifiers
    run(installed, *(f"DROP ROLE {identifier(name)}" for name in [*KINDS, "no password"]))
