"""The chain as docs/migration.md has it, with databases in transaction and in session pooling."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from tests.engine.chain import CONSOLE, Chain, Session, chain

DATABASES: list[dict[str, Any]] = [
    {"name": "app", "dbname": "postgres", "pool_size": 2},
    {"name": "single", "dbname": "postgres", "pool_size": 1},
    {"name": "sessions", "dbname": "postgres", "pool_mode": "session"},
    {"name": "limited", "dbname": "postgres", "connect_query": "SET statement_timeout = '4321ms'"},
]


@contextlib.contextmanager
def pooled() -> Iterator[Chain]:
    """alice owns the schema `mine` with a table `t`, which has one row, and may become bob."""
    with chain() as tier:
        for statement in (
            "CREATE SCHEMA mine AUTHORIZATION alice",
            "CREATE TABLE mine.t AS SELECT 1 AS n",
            "CREATE SEQUENCE mine.numbers",
            "ALTER TABLE mine.t OWNER TO alice",
            "ALTER SEQUENCE mine.numbers OWNER TO alice",
            "GRANT bob TO alice",
        ):
            tier.owner.execute(statement.encode())
        tier.serves(databases=DATABASES)
        yield tier


def refresh(tier: Chain) -> None:
    """Server connections without anybody's traces."""
    for database in DATABASES:
        tier.host.instances[CONSOLE].ask(f"RECONNECT {database['name']}")


@contextlib.contextmanager
def held(tier: Chain, client: Session) -> Iterator[Session]:
    """Another client has the server connection that this one of `app` had, so that its next transaction moves."""
    before = pid(client)
    with tier.enter("alice") as other:
        other.execute("BEGIN")
        # What was given back last is handed out first.
        assert pid(other) == before
        yield other


@contextlib.contextmanager
def untracked(tier: Chain) -> Iterator[None]:
    """Without max_prepared_statements, as engines before 1.21 are."""
    console = tier.host.instances[CONSOLE]
    console.ask("SET max_prepared_statements = 0")
    try:
        yield
    finally:
        console.ask("SET max_prepared_statements = 200")


def pid(client: Session) -> object:
    return one(client, "SELECT pg_backend_pid()")


def one(client: Session, query: str) -> object:
    (found,) = client.execute(query.encode()).fetchone() or (None,)
    return found
