"""What poolers need in PostgreSQL, brought about from where no Ansible is: roles, databases, the function for logins.

`pooler prepare FILE` runs beside a PostgreSQL that Compose starts. The file is JSON, and holds verifiers, no passwords.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psycopg

from . import auth_query, objects
from .errors import PoolerError
from .objects import DatabaseObject, Role

PATIENCE = 120.0
"""Seconds for which a PostgreSQL that is about to start is waited for."""

_AGAIN = 0.5


@dataclass(frozen=True)
class Prepared:
    """What is to be there. `server` is a superuser's connection string, `dbname` the database of the function."""

    server: str
    roles: tuple[Role, ...]
    databases: tuple[DatabaseObject, ...]
    role: str
    schema: str
    function: str
    dbname: str

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=2, sort_keys=True) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Prepared:
        """Read what `to_json` wrote."""
        given: Mapping[str, Any] = json.loads(text)
        roles = tuple(Role(**each) for each in given["roles"])
        databases = tuple(DatabaseObject(**each) for each in given["databases"])
        return cls(**{**given, "roles": roles, "databases": databases})


def prepare(path: str) -> tuple[str, ...]:
    """Bring it about; what was changed, in words. Raises PoolerError."""
    wanted = Prepared.from_json(Path(path).read_text(encoding="utf-8"))
    try:
        with _connected(wanted.server, "postgres") as connection:
            observed = _document(connection, objects.audit_sql(wanted.roles, wanted.databases))
            found = [str(each) for each in objects.differences(wanted.roles, wanted.databases, observed)]
            for statement in objects.statements(wanted.roles, wanted.databases, observed):
                connection.execute(statement.encode())
        logins = auth_query.AuthQuery(role=wanted.role, schema=wanted.schema, function=wanted.function)
        with _connected(wanted.server, wanted.dbname) as connection:
            observed = _document(connection, auth_query.audit_sql(logins))
            found += [str(each) for each in auth_query.differences(logins, observed)]
            if repair := auth_query.repair_sql(logins, observed):
                connection.execute(repair.encode())
    except psycopg.Error as error:
        # Not the statement, which may hold verifiers.
        raise PoolerError(f"PostgreSQL: {error.diag.message_primary or str(error).splitlines()[0]}") from None
    return tuple(found)


def _connected(server: str, dbname: str) -> psycopg.Connection[tuple[Any, ...]]:
    """A server that does not answer yet is asked again for a while."""
    ends = time.monotonic() + PATIENCE
    while True:
        try:
            return psycopg.connect(
                server,
                dbname=dbname,
                connect_timeout=5,
                autocommit=True,
                client_encoding="UTF8",
                prepare_threshold=None,
            )
        except psycopg.OperationalError:
            if time.monotonic() > ends:
                raise
            time.sleep(_AGAIN)


def _document(connection: psycopg.Connection[tuple[Any, ...]], query: str) -> Mapping[str, Any]:
    row = connection.execute(query.encode()).fetchone()
    assert row is not None
    found: Mapping[str, Any] = row[0] if isinstance(row[0], Mapping) else json.loads(row[0])
    return found
