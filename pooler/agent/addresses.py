"""The addresses of hosts, to be compared with those that an instance is connected to."""

from __future__ import annotations

import asyncio
import ipaddress
import time
from functools import lru_cache

_AGE = 10.0
"""Seconds for which what a name has been resolved to counts."""


class Addresses:
    """Names are resolved in the background: until that is done nothing is known of them."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[float, frozenset[str]]] = {}
        self._asking: dict[str, asyncio.Task[None]] = {}

    def of(self, hosts: str) -> frozenset[str] | None:
        """All addresses of a host or a list `a,b`; None while they are not known."""
        found: set[str] = set()
        for host in hosts.split(","):
            literal = spelled(host)
            if literal is not None:
                found.add(literal)
                continue
            at, addresses = self._known.get(host, (0.0, None))
            if (addresses is None or time.monotonic() - at > _AGE) and host not in self._asking:
                self._asking[host] = asyncio.create_task(self._resolve(host))
            if addresses is None:
                return None
            found |= addresses
        return frozenset(found)

    async def _resolve(self, host: str) -> None:
        try:
            rows = await asyncio.get_running_loop().getaddrinfo(host, None)
            addresses = frozenset(text for row in rows if (text := spelled(str(row[4][0]))) is not None)
            self._known[host] = (time.monotonic(), addresses)
        except OSError:
            # What was known last is better than nothing; the engine has no other either.
            if host in self._known:
                self._known[host] = (time.monotonic(), self._known[host][1])
        finally:
            del self._asking[host]


@lru_cache(maxsize=1024)
def spelled(address: str) -> str | None:
    """An address in the one spelling in which two are compared; None for a name."""
    try:
        return str(ipaddress.ip_address(address))
    except ValueError:
        return None
