"""A login as clients do it, from where this runs: TLS with the name checked, SCRAM, a query through the pool."""

from __future__ import annotations

import asyncio
import ssl
import time
from contextlib import closing

from ..agent import wire
from ..drill.target import Target
from ..errors import PoolerError
from .finding import Finding, failed, ok, warning

CHECK = "login"

_SECONDS = 10.0
_QUESTION = "SELECT pg_catalog.pg_is_in_recovery()"


async def log_in(target: Target, password: str) -> list[Finding]:
    """At every host that the connection string names."""
    try:
        tls = ssl.create_default_context(cafile=target.ca or None)
    except OSError as error:
        raise PoolerError(f"{target.ca}: {error.strerror or error}") from None
    return [await _log_in(host, target, password, tls) for host in target.host.split(",")]


async def _log_in(host: str, target: Target, password: str, tls: ssl.SSLContext) -> Finding:
    place = f"{host}:{target.port} {target.user}@{target.database}"
    began = time.monotonic()
    try:
        async with asyncio.timeout(_SECONDS):
            parameters = {"user": target.user, "database": target.database}
            with closing(await wire.over_tls(host, target.port, tls, parameters, password)) as session:
                logged_in = time.monotonic()
                (table,) = await session.ask(_QUESTION)
        (in_recovery,) = table.first()
    except TimeoutError:
        return failed(CHECK, place, f"no login and answer within {_SECONDS:g} s", "see what the other checks say")
    except PoolerError as error:
        return failed(CHECK, place, str(error), "is the password right, and the certificate for that name?")
    login, query = (logged_in - began) * 1000, (time.monotonic() - logged_in) * 1000
    said = f"login by SCRAM over TLS in {login:.0f} ms, a query in {query:.0f} ms"
    if in_recovery == "t":
        return warning(CHECK, place, f"{said}, by a replica", "right for a database with target: replica only")
    return ok(CHECK, place, said)
