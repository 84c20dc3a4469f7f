"""How clients of the load log in: TLS with verify-full, SCRAM."""

from __future__ import annotations

import ssl
from functools import lru_cache
from pathlib import Path

import asyncpg

from .settings import Settings


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


@lru_cache(maxsize=4)
def _context(ca: str, _changed: int) -> ssl.SSLContext:
    """Made anew when the file has changed: it does while one authority takes over from another."""
    return ssl.create_default_context(cafile=ca or None)
