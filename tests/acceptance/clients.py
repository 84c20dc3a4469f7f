"""Clients of the pool: psql, asyncpg and psycopg, over TLS with verify-full unless a test says otherwise."""

from __future__ import annotations

import asyncio
import os
import ssl
import subprocess
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import asyncpg
import psycopg

from pooler.certificates import Authority, LeafRequest, issue, unlock
from tests.lab import network

from . import namespace
from .scenario import POOLER, PORT, Scenario

Driver = Callable[[Scenario, str, str], tuple[str, str]]
"""Logs a role in to a database; gives the role and the database that PostgreSQL says it is."""

LOGIN_TIMEOUT = 60
"""The engine's client_login_timeout: who has no answer by then has found a hole."""

WHO = "SELECT current_user, current_database()"


def connect(scenario: Scenario, user: str = "app", database: str = "app", **options: Any) -> psycopg.Connection[Any]:
    """A connection of psycopg. The host is told by name, for the certificate, and by address."""
    defaults: dict[str, Any] = {
        "host": POOLER,
        "hostaddr": scenario.addresses[POOLER],
        "port": PORT,
        "sslmode": "verify-full",
        "sslrootcert": str(scenario.root),
        "connect_timeout": LOGIN_TIMEOUT,
        "autocommit": True,
    }
    if "password" not in options:
        options["password"] = scenario.password(user)
    return psycopg.connect(user=user, dbname=database, **{**defaults, **options})


def console(scenario: Scenario, instance: int, user: str, **options: Any) -> psycopg.Connection[Any]:
    """The console of an instance through its own port, which only the pooler host itself can reach.

    With a certificate where the user's seat wants one, and with his password else, unless `options` say otherwise.
    """
    seats = scenario.variables["pgbouncer_users"]
    if not options and any(seat["name"] == user and seat.get("certificate") for seat in seats):
        options = certificate(scenario, user)
    with namespace.inside(network.host_namespace(scenario.name, POOLER)):
        return connect(scenario, user, "pgbouncer", host="localhost", hostaddr="127.0.0.1", port=instance, **options)


def certificate(scenario: Scenario, name: str, authority: Authority | None = None) -> dict[str, Any]:
    """Options of `connect` with a leaf of this name instead of a password; of the scenario's authority, or another."""
    variables = scenario.variables
    if authority is None:
        pki = Path(variables["certificates_authority_directory"])
        key = unlock((pki / "ca.key").read_bytes(), variables["certificates_passphrase"])
        authority = Authority((pki / "ca.crt").read_text(), key)
    request = LeafRequest(name, usages=frozenset({"client"}))
    leaf = issue(authority, request, datetime.now(UTC))
    place = Path(tempfile.mkdtemp(dir=scenario.directory))
    for kind, content in (("crt", leaf.certificate_pem.encode()), ("key", leaf.key_pem)):
        file = place / f"tls.{kind}"
        file.touch(mode=0o600)
        file.write_bytes(content)
    return {"password": "", "sslcert": str(place / "tls.crt"), "sslkey": str(place / "tls.key")}


def by_psycopg(scenario: Scenario, user: str, database: str) -> tuple[str, str]:
    """Who one is, and where, after a login."""
    with connect(scenario, user, database) as connection:
        row = connection.execute(WHO).fetchone()
        assert row is not None
        return row[0], row[1]


def by_asyncpg(scenario: Scenario, user: str, database: str) -> tuple[str, str]:
    async def ask() -> tuple[str, str]:
        connection = await asyncpg.connect(
            host=scenario.addresses[POOLER],
            port=PORT,
            user=user,
            password=scenario.password(user),
            database=database,
            ssl=ssl.create_default_context(cafile=str(scenario.root)),
            timeout=LOGIN_TIMEOUT,
        )
        try:
            row = await connection.fetchrow(WHO)
            return row[0], row[1]
        finally:
            await connection.close()

    return asyncio.run(ask())


def by_psql(scenario: Scenario, user: str, database: str) -> tuple[str, str]:
    environment = {
        **os.environ,
        "PGHOST": POOLER,
        "PGHOSTADDR": scenario.addresses[POOLER],
        "PGPORT": str(PORT),
        "PGUSER": user,
        "PGDATABASE": database,
        "PGPASSWORD": scenario.password(user),
        "PGSSLMODE": "verify-full",
        "PGSSLROOTCERT": str(scenario.root),
        "PGCONNECT_TIMEOUT": str(LOGIN_TIMEOUT),
        "PGCLIENTENCODING": "UTF8",
    }
    done = subprocess.run(
        ["psql", "-XAtq", "-F", "\t", "-c", WHO], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    name, _tab, place = done.stdout.strip("\n").partition("\t")
    return name, place
