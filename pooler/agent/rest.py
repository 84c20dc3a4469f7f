"""Every member's Patroni asked by REST who is in the cluster, each on its own: a silent one delays nobody."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

from .. import patroni
from ..errors import PoolerError
from ..patroni import Cluster
from .rhythm import due

AT_REST = 1.0
HURRY = 0.25
"""Seconds between two questions to a member, while all is well and while there is no leader."""

SECONDS = 2.0
"""For one answer."""

OLD = 4.0
"""Seconds after which an answer says nothing any more."""

_AT_MOST = 1 << 20


@dataclass(frozen=True)
class View:
    """What one member said at a time on time.monotonic; `error` when it did not."""

    at: float
    cluster: Cluster | None = None
    error: str = ""


class Patroni:
    """`views` by URL. `hurry` tells that there is no leader; `heard` is called when a member says something new."""

    def __init__(
        self,
        urls: tuple[str, ...],
        tls: ssl.SSLContext,
        hurry: Callable[[], bool],
        heard: Callable[[], None],
    ) -> None:
        self.views: dict[str, View] = {}
        self._tls = tls
        self._hurry = hurry
        self._heard = heard
        self._wake = {url: asyncio.Event() for url in urls}

    def ask_now(self) -> None:
        for event in self._wake.values():
            event.set()

    def fresh(self, now: float) -> list[Cluster]:
        """The answers that are not old, the latest first."""
        views = [view for view in self.views.values() if view.cluster and now - view.at <= OLD]
        return [view.cluster for view in sorted(views, key=lambda view: -view.at) if view.cluster]

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            for url in self._wake:
                group.create_task(self._follow(url))

    async def _follow(self, url: str) -> None:
        wake = self._wake[url]
        while True:
            began = time.monotonic()
            before = self.views.get(url)
            seen = await view(url, self._tls)
            # Of a member that has become silent the last word counts until it is old.
            if seen.cluster or before is None or before.cluster is None or began - before.at > OLD:
                self.views[url] = seen
                if before is None or seen.cluster != before.cluster:
                    self._heard()
            wake.clear()
            again = began + HURRY if self._hurry() else due(began, AT_REST)
            try:
                async with asyncio.timeout(max(HURRY, again - time.monotonic())):
                    await wake.wait()
            except TimeoutError:
                pass


async def view(url: str, tls: ssl.SSLContext) -> View:
    at = time.monotonic()
    try:
        async with asyncio.timeout(SECONDS):
            return View(at, patroni.parse(await get(url.rstrip("/") + "/cluster", tls)))
    except TimeoutError:
        return View(at, error=f"no answer within {SECONDS:g} s")
    except (OSError, ValueError, EOFError, PoolerError) as error:
        return View(at, error=str(error) or type(error).__name__)


async def get(url: str, tls: ssl.SSLContext) -> str:
    """The body of an answer 200 (Patroni speaks HTTP/1.0, a connection for each). Raises PoolerError, OSError."""
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or 8008
    secure = tls if parts.scheme == "https" else None
    reader, writer = await asyncio.open_connection(host, port, ssl=secure)
    try:
        writer.write(f"GET {parts.path} HTTP/1.0\r\nHost: {host}\r\nAccept: application/json\r\n\r\n".encode())
        answer = bytearray()
        while more := await reader.read(1 << 16):
            answer += more
            if len(answer) > _AT_MOST:
                raise PoolerError("the answer is too long")
    finally:
        writer.close()
    head, _blank, body = bytes(answer).partition(b"\r\n\r\n")
    words = head.split(b"\r\n")[0].split(b" ", 2)
    if len(words) < 2 or words[1] != b"200":
        raise PoolerError(f"answered {words[1].decode('latin-1') if len(words) > 1 else 'nothing'}")
    return body.decode()
