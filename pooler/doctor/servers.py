"""PostgreSQL asked directly, as the agent's role: its limits, its clock, locks, and the function of auth_query."""

from __future__ import annotations

import asyncio
import json
import re
import ssl
import time
from collections.abc import Mapping
from contextlib import closing

from ..agent import wire
from ..agent.config import AgentConfig
from ..auth_query import STRANGER
from ..errors import PoolerError
from ..server import Server
from ..sql import literal
from .facts import GetAuth, Postgres

SECONDS = 5.0
NAME = "pooler-doctor"
"""application_name of these connections."""

_CLOCK = "SELECT extract(epoch FROM pg_catalog.clock_timestamp())::text"

# Whoever is in a transaction holds a lock on its own number; an advisory lock of one who is in none outlives them.
_SERVER = """SELECT pg_catalog.json_build_object(
    'writable', NOT pg_catalog.pg_is_in_recovery()
        AND pg_catalog.current_setting('default_transaction_read_only') = 'off',
    'room', pg_catalog.current_setting('max_connections')::int
        - pg_catalog.current_setting('superuser_reserved_connections')::int
        - coalesce(pg_catalog.current_setting('reserved_connections', true)::int, 0),
    'locks', (SELECT pg_catalog.json_agg(pg_catalog.json_build_array(held.pid, held.count)) FROM (
        SELECT l.pid, pg_catalog.count(*) AS count FROM pg_catalog.pg_locks AS l
        WHERE l.locktype = 'advisory' AND l.granted AND NOT EXISTS (
            SELECT FROM pg_catalog.pg_locks AS t WHERE t.pid = l.pid AND t.locktype = 'virtualxid')
        GROUP BY l.pid) AS held))::text"""

_FUNCTION = r"""FROM\s+((?:"(?:[^"]|"")+"|\w+)\.(?:"(?:[^"]|"")+"|\w+))\s*\(\s*\$1"""

GET_AUTH = """SELECT pg_catalog.json_build_object(
    'role', (SELECT pg_catalog.json_build_object('superuser', r.rolsuper, 'createrole', r.rolcreaterole,
        'createdb', r.rolcreatedb, 'replication', r.rolreplication, 'bypassrls', r.rolbypassrls)
        FROM pg_catalog.pg_roles AS r WHERE r.rolname = {role}),
    'found', (SELECT pg_catalog.json_agg(pg_catalog.json_build_object(
        'definer', p.prosecdef, 'settings', p.proconfig, 'owner', o.rolname, 'owner_superuser', o.rolsuper,
        'public', pg_catalog.has_function_privilege('public', p.oid, 'EXECUTE'),
        'ours', pg_catalog.has_function_privilege({role}, p.oid, 'EXECUTE')))
        FROM pg_catalog.pg_proc AS p JOIN pg_catalog.pg_roles AS o ON o.oid = p.proowner
        WHERE p.oid = pg_catalog.to_regproc({name})))::text"""
"""Properties of the role and the function; superusers and strangers are asked for afterwards, by `_ANSWERS`."""

_ANSWERS = """SELECT pg_catalog.json_build_object(
    'stranger', (SELECT pg_catalog.json_agg(pg_catalog.json_build_array(a.username,
        a.password LIKE 'SCRAM-SHA-256$%')) FROM {function}({stranger}) AS a(username, password)),
    'superuser', (SELECT pg_catalog.json_agg(a.username) FROM pg_catalog.pg_roles AS s,
        LATERAL {function}(s.rolname) AS a(username, password) WHERE s.oid = 10))::text"""


async def ask(server: Server, config: AgentConfig, tls: ssl.SSLContext) -> Postgres:
    try:
        async with asyncio.timeout(SECONDS):
            with closing(await _connected(server, config, tls, config.dbname)) as session:
                before = time.time()
                (clock,) = await session.ask(_CLOCK)
                after = time.time()
                (said,) = await session.ask(_SERVER)
        found = json.loads(said.first()[0])
        return Postgres(
            writable=found["writable"],
            room=found["room"],
            ahead=float(clock.first()[0]) - (before + after) / 2,
            within=(after - before) / 2,
            locks=dict(found["locks"] or ()),
        )
    except (PoolerError, ValueError) as error:
        return Postgres(error=str(error))
    except TimeoutError:
        return Postgres(error=f"no answer within {SECONDS:g} s")


async def get_auth(
    server: Server, config: AgentConfig, tls: ssl.SSLContext, settings: Mapping[str, str], dbname: str
) -> GetAuth:
    """`settings` are an instance's; `dbname` is where auth_query is sent to."""
    role = settings.get("auth_user", "")
    match = re.search(_FUNCTION, settings["auth_query"], re.IGNORECASE)
    if match is None:
        return GetAuth(role, error="auth_query does not ask a function of a schema")
    name = match[1]
    try:
        async with asyncio.timeout(SECONDS):
            with closing(await _connected(server, config, tls, dbname)) as session:
                (table,) = await session.ask(GET_AUTH.format(role=literal(role), name=literal(name)))
                said = json.loads(table.first()[0])
                if said["found"] and role == config.role and said["found"][0]["ours"]:
                    # The name of a function goes in as it stands in auth_query, which the engine sends as well.
                    (table,) = await session.ask(_ANSWERS.format(function=name, stranger=literal(_NOBODY)))
                    said |= json.loads(table.first()[0])
        return GetAuth(role, name, said)
    except (PoolerError, ValueError) as error:
        return GetAuth(role, name, error=str(error))
    except TimeoutError:
        return GetAuth(role, name, error=f"no answer within {SECONDS:g} s")


_NOBODY = f"{STRANGER}_asks"
"""PostgreSQL lets nobody have such a name."""


async def _connected(server: Server, config: AgentConfig, tls: ssl.SSLContext, dbname: str) -> wire.Session:
    parameters = {"user": config.role, "database": dbname, "application_name": NAME}
    return await wire.over_tls(server.host, server.port, tls, parameters, config.password)
