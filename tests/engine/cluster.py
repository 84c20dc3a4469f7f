"""A PostgreSQL in which our objects are made, broken and attacked by hand."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from ansible_collections.pgfleet.pooler.plugins.action import auth_query as action
from ansible_collections.pgfleet.pooler.plugins.plugin_utils import goal
from ansible_collections.pgfleet.pooler.plugins.plugin_utils.action import argument_spec

from pooler import scram
from pooler.auth_query import STRANGER, AuthQuery, audit_sql, query, repair_sql
from pooler.sql import identifier

Json = dict[str, Any]
Connection = psycopg.Connection[Any]
WANTED = AuthQuery()
GET_AUTH = "pgbouncer.get_auth(text)"
ALTER = f"ALTER FUNCTION {GET_AUTH}"
PASSWORD = secrets.token_urlsafe()


@dataclass(frozen=True)
class Server:
    """A running server with its socket in `place`: postgres needs no password, all others do."""

    place: Path

    def connect(self, user: str = "postgres", dbname: str = "postgres", **more: Any) -> Connection:
        return psycopg.connect(host=str(self.place), user=user, dbname=dbname, autocommit=True, **more)


def run(connection: Connection, *statements: str) -> None:
    for statement in statements:
        connection.execute(statement.encode())


def value(connection: Connection, statement: str, *values: object) -> Any:
    row = connection.execute(statement.encode(), values or None).fetchone()
    return None if row is None else row[0]


def audit(connection: Connection, wanted: AuthQuery = WANTED) -> Json:
    found: Json = value(connection, audit_sql(wanted))
    return found


def repair(connection: Connection, wanted: AuthQuery = WANTED) -> str:
    text = repair_sql(wanted, audit(connection, wanted))
    if text:
        run(connection, text)
    return text


def body_of(connection: Connection) -> str:
    return str(value(connection, f"SELECT prosrc FROM pg_proc WHERE oid = '{GET_AUTH}'::regprocedure"))


def lookup(connection: Connection, user: str, wanted: AuthQuery = WANTED) -> list[tuple[Any, ...]]:
    """As PgBouncer does it: the text of the setting, the name as a bound value."""
    cursor = psycopg.RawCursor(connection)
    return cursor.execute(query(wanted).encode(), [user]).fetchall()


def told(connection: Connection, user: str, wanted: AuthQuery = WANTED) -> str | None:
    """The verifier that is told of a user; None for a decoy, which looks like one."""
    ((name, verifier),) = lookup(connection, user, wanted)
    assert scram.is_verifier(verifier)
    assert name in (user, STRANGER)
    return None if name == STRANGER else verifier


class Here:
    """The module's way to a connection that is open already."""

    name = "here"
    trips = 0

    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    def ask(self, _database: str, audit_text: str, statements: Sequence[str] = ()) -> Json:
        run(self.connection, *statements)
        found: Json = value(self.connection, audit_text)
        return found


def reach(connection: Connection, *, check: bool = False, **options: Any) -> Json:
    """What the module does and gives, with its options' defaults."""
    defaults = {name: option.get("default") for name, option in argument_spec("auth_query").items()}
    result: Json = goal.reach(action.wish(defaults | options), Here(connection), check=check, diff=True)
    return result


def acting(server: Server, role: str, search_path: str = '"$user", public') -> Connection:
    """A session of `role`, whose search_path came in the startup packet."""
    connection = server.connect(options=f"-c search_path={search_path.replace(' ', '')}")
    run(connection, f"SET SESSION AUTHORIZATION {identifier(role)}")
    return connection


NOBODY = ("no password", "stranger", "pgbouncer", STRANGER, "")
"""Names of roles that cannot log in with a password, and of none."""

KINDS: dict[str, tuple[str, bool]] = {
    "ordinary": ("LOGIN", True),
    "valid for ever": ("LOGIN VALID UNTIL 'infinity'", True),
    "still valid": ("LOGIN VALID UNTIL '2999-01-01'", True),
    "expired": ("LOGIN VALID UNTIL '2001-01-01'", False),
    "no login": ("NOLOGIN", False),
    "superuser": ("LOGIN SUPERUSER", False),
    "replication": ("LOGIN REPLICATION", False),
}
