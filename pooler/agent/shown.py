"""Until when the certificates are valid that PostgreSQL and Patroni show: a handshake with each now and then.

By itself, and nothing is said after it: the connections over which servers are asked are kept, for months if all is
well.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Callable, Iterable, Mapping
from urllib.parse import urlsplit

from ..errors import PoolerError
from ..metrics.expiry import Expiry, of_certificate
from ..server import Server
from . import wire

_EVERY = 60.0
"""Seconds between two looks at everybody."""

_SOON = 1.0
"""The same, as long as nobody is known."""

_SECONDS = 5.0
"""For one handshake."""


class Shown:
    """`expiries` by HOST:PORT. Who does not answer keeps what he has shown last."""

    def __init__(self, servers: Callable[[], Iterable[Server]], urls: tuple[str, ...]) -> None:
        self.expiries: Mapping[str, Expiry] = {}
        self._servers = servers
        self._patroni: list[Server] = []
        for url in map(urlsplit, urls):
            with contextlib.suppress(ValueError):
                if url.scheme == "https" and url.hostname:
                    self._patroni.append(Server(url.hostname, url.port or 8008))

    async def run(self) -> None:
        # One that has expired, or is another's, is to be seen as well.
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        tls.check_hostname, tls.verify_mode = False, ssl.CERT_NONE
        while True:
            servers = tuple(self._servers())
            places = {str(server): (server, True) for server in servers}
            places |= {str(server): (server, False) for server in self._patroni}
            found = await asyncio.gather(*(_look(server, tls, sql) for server, sql in places.values()))
            seen = {where: expiry for where, expiry in zip(places, found, strict=True) if expiry}
            self.expiries = {where: each for where, each in self.expiries.items() if where in places} | seen
            await asyncio.sleep(_EVERY if servers else _SOON)


async def _look(server: Server, tls: ssl.SSLContext, postgresql: bool) -> Expiry | None:
    with contextlib.suppress(OSError, EOFError, PoolerError, TimeoutError, ValueError):
        async with asyncio.timeout(_SECONDS):
            return of_certificate(await wire.certificate(server.host, server.port, tls, postgresql=postgresql))
    return None
