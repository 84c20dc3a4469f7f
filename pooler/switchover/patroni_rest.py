"""Patroni's REST API: questions to its members, and the orders that only some of them are given."""

from __future__ import annotations

import base64
import http.client
import json
import ssl
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from .. import patroni
from ..errors import PoolerError
from ..patroni import Cluster, Member

_Error = (OSError, http.client.HTTPException, ValueError)


@dataclass(frozen=True)
class Rest:
    """`urls` are members of one cluster; `tls` shows our certificate to those with https. Basic auth is optional."""

    urls: tuple[str, ...]
    tls: ssl.SSLContext | None
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    timeout: float = 3.0

    def cluster(self) -> Cluster:
        """What the first member that answers says. Raises PoolerError with the words of all when none does."""
        return patroni.parse(self._any("/cluster"))

    def synchronous(self) -> bool:
        """Whether commits wait for a replica, by the dynamic configuration. Raises PoolerError."""
        try:
            configuration = json.loads(self._any("/config"))
            return str(configuration.get("synchronous_mode", False)).lower() in ("true", "on", "yes", "1", "quorum")
        except (ValueError, AttributeError) as error:
            raise PoolerError(f"Patroni: GET /config is not understood ({error})") from None

    def url(self, member: Member) -> str:
        """Where this member's REST API is: of the addresses that we were given the one under which it knows itself.

        Else the one that it says itself, which a network between us and it may know under another address.
        """
        names = dict(zip(self.urls, self._each("/patroni"), strict=True))
        for url, answer in names.items():
            if answer is not None and _name(answer) == member.name:
                return url
        if member.api_url:
            parts = urlsplit(member.api_url)
            return f"{parts.scheme}://{parts.netloc}"
        raise PoolerError(f"Patroni: no URL of the member {member.name} is known; give all members' URLs")

    def order(self, url: str, path: str, body: dict[str, str], timeout: float) -> Order:
        """Prepare a POST: the connection is opened now, so that `send` costs one way. Raises PoolerError."""
        connection = self._connection(url, timeout)
        try:
            connection.connect()
        except OSError as error:
            connection.close()
            raise PoolerError(f"{url}: {error.strerror or error}") from None
        return Order(url.rstrip("/") + path, json.dumps(body).encode(), self._headers(), connection)

    def _any(self, path: str) -> str:
        said = []
        for url in self.urls:
            try:
                return self._get(url, path)
            except (*_Error, PoolerError) as error:
                said.append(f"{url}: {error}")
        raise PoolerError(f"Patroni: no member answers GET {path}: {'; '.join(said) or 'no URL is given'}")

    def _each(self, path: str) -> list[str | None]:
        def ask(url: str) -> str | None:
            try:
                return self._get(url, path)
            except (*_Error, PoolerError):
                return None

        with ThreadPoolExecutor(max(1, len(self.urls))) as pool:
            return list(pool.map(ask, self.urls))

    def _get(self, url: str, path: str) -> str:
        connection = self._connection(url, self.timeout)
        try:
            # A proxy may have Patroni at a path of its own.
            connection.request("GET", urlsplit(url).path.rstrip("/") + path, headers=self._headers())
            answer = connection.getresponse()
            body = answer.read().decode()
        finally:
            connection.close()
        # GET /patroni says 503 of a member that does not run, and its name all the same.
        if answer.status != 200 and path != "/patroni":
            raise PoolerError(f"answered {answer.status}")
        return body

    def _connection(self, url: str, timeout: float) -> http.client.HTTPConnection:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port or 8008
        if parts.scheme == "https":
            return http.client.HTTPSConnection(host, port, timeout=timeout, context=self.tls)
        return http.client.HTTPConnection(host, port, timeout=timeout)

    def _headers(self) -> dict[str, str]:
        headers = {"Content-Type": "application/json"}
        if self.user is not None:
            pair = f"{self.user}:{self.password or ''}".encode()
            headers["Authorization"] = f"Basic {base64.b64encode(pair).decode()}"
        return headers


class Order:
    """A POST that Patroni answers only when all is over, so that it is sent in the background."""

    def __init__(self, url: str, body: bytes, headers: dict[str, str], connection: http.client.HTTPConnection) -> None:
        self.sent = False
        self.over = threading.Event()
        """Set when there is an answer, or will be none."""
        self.refused = ""
        """Patroni's words, when it has answered that it does not."""
        self._what = url
        self._request = ("POST", urlsplit(url).path, body, headers)
        self._connection = connection

    def send(self) -> None:
        """The thread is a daemon: nobody waits for an answer that is not needed any more."""
        self.sent = True
        threading.Thread(target=self._send, daemon=True).start()

    def close(self) -> None:
        """Of an order that was never sent: the connection."""
        if not self.sent:
            self._connection.close()

    def _send(self) -> None:
        try:
            self._connection.request(*self._request)
            answer = self._connection.getresponse()
            words = answer.read().decode(errors="replace").strip()
            if answer.status >= 300:
                self.refused = f"{self._what}: {answer.status}: {words}"
        except _Error:
            return  # whether Patroni does it is then seen in the database alone
        finally:
            self._connection.close()
            self.over.set()


def _name(answer: str) -> str | None:
    try:
        name = json.loads(answer)["patroni"]["name"]
    except (ValueError, TypeError, KeyError):
        return None
    return str(name)
