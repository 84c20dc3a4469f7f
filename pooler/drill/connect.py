"""How clients of the load log in: TLS with verify-full, SCRAM."""

from __future__ import annotations

import ssl
from functools import lru_cache
from pathlib import Path

import asyncpg

from .settings import Settings

_MOST_PEERS = 64


async def connect(settings: Settings, client: int = 0) -> asyncpg.Connection:
    """To the host that is this client's. The caller bounds the time it may take."""
    return await asyncpg.connect(
        host=settings.host_of(client),
        port=settings.port,
        user=settings.user,
        password=settings.password,
        database=settings.database,
        ssl=_context(settings.ca, Path(settings.ca).stat().st_mtime_ns if settings.ca else 0),
    )


def instance(settings: Settings, client: int, connection: asyncpg.Connection) -> str:
    """Which one of its host has taken the connection; the host alone where instances have no numbers.

    PgBouncer writes its peer_id into the key with which queries are cancelled (1.21 and later: the second and third
    byte, the lower one first), so that whoever gets a request knows whom it is for. Without peers these are random, and
    so they are of no server but a pooler: a large number is none.
    """
    key = connection.get_server_pid()
    peer = (key >> 16 & 0xFF) | (key & 0xFF00)
    return f"{settings.host_of(client)} #{peer}" if 0 < peer <= _MOST_PEERS else settings.host_of(client)


@lru_cache(maxsize=4)
def _context(ca: str, _changed: int) -> ssl.SSLContext:
    """Made anew when the file has changed: it does while one authority takes over from another."""
    return ssl.create_default_context(cafile=ca or None)
