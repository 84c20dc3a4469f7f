"""Every member's Patroni asked by REST who is in the cluster, each on its own: a silent one delays nobody."""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from urllib.parse import urlsplit

from .. import patroni
from ..errors import PoolerError
from ..patroni import Cluster
from .rhythm import next_turn

AT_REST = 1.0
HURRY = 0.25
"""Seconds between two questions: while all is well to one member after the other, without a leader to each."""

_ROUND = 3.0
"""Seconds between two questions to the same member at most, however many there are."""

SECONDS = 2.0
"""For one answer."""

OLD = 5.0
"""Seconds after which an answer says nothing any more: a round, and a late answer."""

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
        self._apis = {url: Api(url, tls) for url in urls}
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
        """All at once in the beginning, then in turn."""
        async with asyncio.TaskGroup() as group:
            for number, url in enumerate(self._wake):
                group.create_task(self._follow(url, number * AT_REST))

    async def _follow(self, url: str, turn: float) -> None:
        """`turn`: its seconds in a round."""
        wake, length = self._wake[url], min(len(self._wake) * AT_REST, _ROUND)
        while True:
            began = time.monotonic()
            before = self.views.get(url)
            seen = await view(self._apis[url])
            # Of a member that has become silent the last word counts until it is old.
            if seen.cluster or before is None or before.cluster is None or began - before.at > OLD:
                self.views[url] = seen
                if before is None or seen.cluster != before.cluster:
                    self._heard()
            wake.clear()
            now = time.monotonic()
            again = began + HURRY if self._hurry() else next_turn(now, turn, length)
            try:
                async with asyncio.timeout(max(HURRY, again - now)):
                    await wake.wait()
            except TimeoutError:
                pass


class Api:
    """A REST API, asked in a thread of its own: with TLS, the event loop would take three times the CPU for a question.

    Patroni speaks HTTP/1.0, so each question is a connection; its TLS session is taken up again, so that certificates
    are looked at once, as long as the other side remembers it.
    """

    def __init__(self, url: str, tls: ssl.SSLContext) -> None:
        parts = urlsplit(url)
        self._host, self._port, self._root = parts.hostname or "", parts.port or 8008, parts.path.rstrip("/")
        self._tls = tls if parts.scheme == "https" else None
        self._session: ssl.SSLSession | None = None
        self._thread = ThreadPoolExecutor(1)

    async def get(self, path: str, seconds: float) -> str:
        """The body of an answer 200. Raises TimeoutError, PoolerError, OSError."""
        async with asyncio.timeout(seconds):
            until = time.monotonic() + seconds
            return await asyncio.get_running_loop().run_in_executor(self._thread, self._get, path, until)

    def _get(self, path: str, until: float) -> str:
        answer = bytearray()
        with self._connected(until) as connection:
            head = f"GET {self._root}{path} HTTP/1.0\r\nHost: {self._host}\r\nAccept: application/json\r\n\r\n"
            connection.sendall(head.encode())
            while more := connection.recv(1 << 16):
                answer += more
                if len(answer) > _AT_MOST:
                    raise PoolerError("the answer is too long")
                connection.settimeout(_left(until))
            if isinstance(connection, ssl.SSLSocket):
                # With TLS 1.3 it comes after the handshake.
                self._session = connection.session
        status, _blank, body = bytes(answer).partition(b"\r\n\r\n")
        words = status.split(b"\r\n")[0].split(b" ", 2)
        if len(words) < 2 or words[1] != b"200":
            raise PoolerError(f"answered {words[1].decode('latin-1') if len(words) > 1 else 'nothing'}")
        return body.decode()

    def _connected(self, until: float) -> socket.socket:
        plain = socket.create_connection((self._host, self._port), _left(until))
        if self._tls is None:
            return plain
        try:
            return self._tls.wrap_socket(plain, server_hostname=self._host, session=self._session)
        except BaseException:
            plain.close()
            raise


async def view(api: Api) -> View:
    at = time.monotonic()
    try:
        return View(at, patroni.parse(await api.get("/cluster", SECONDS)))
    except TimeoutError:
        return View(at, error=f"no answer within {SECONDS:g} s")
    except (OSError, ValueError, PoolerError) as error:
        return View(at, error=str(error) or type(error).__name__)


def _left(until: float) -> float:
    """Seconds. Raises TimeoutError."""
    left = until - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left
