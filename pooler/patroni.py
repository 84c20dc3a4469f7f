"""Patroni's REST API: who is in the cluster and who leads it (GET /cluster), and how many connections PostgreSQL has
(GET /config). Patroni 4.0; also 3.x."""

from __future__ import annotations

import http.client
import json
import ssl
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar
from urllib.parse import urlsplit

from .errors import PoolerError
from .server import Server

LEADS = ("leader", "master", "primary")
SYNCHRONOUS = ("sync_standby", "quorum_standby")

MAX_CONNECTIONS = 100
"""What Patroni starts PostgreSQL with when its configuration does not say; a member's own file has no say."""

_Found = TypeVar("_Found")


@dataclass(frozen=True)
class Member:
    """`lag` is in bytes, None when Patroni does not know it. `host` is empty while the member has not said it."""

    name: str
    role: str
    state: str
    host: str = ""
    port: int = 5432
    api_url: str = ""
    timeline: int | None = None
    lag: int | None = None
    tags: Mapping[str, object] = field(default_factory=dict)

    @property
    def leads(self) -> bool:
        return self.role in LEADS

    @property
    def synchronous(self) -> bool:
        return self.role in SYNCHRONOUS

    @property
    def server(self) -> Server:
        return Server(self.host, self.port)

    @property
    def never_leads(self) -> bool:
        """Tagged so that Patroni never makes it the leader."""
        return bool(self.tags.get("nofailover")) or self.tags.get("failover_priority") == 0


@dataclass(frozen=True)
class Cluster:
    """`paused`: Patroni is in maintenance mode. `scheduled` tells of a switchover that is to come, or is empty."""

    members: tuple[Member, ...]
    paused: bool = False
    scheduled: str = ""

    def member(self, name: str) -> Member | None:
        return next((member for member in self.members if member.name == name), None)


def context(ca: str, cert: str | None = None, key: str | None = None) -> ssl.SSLContext:
    """TLS towards Patroni: its certificate must come from this authority and name the address that is asked."""
    made = ssl.create_default_context(cafile=ca)
    if cert:
        made.load_cert_chain(cert, key)
    return made


def leader(urls: Sequence[str], tls: ssl.SSLContext | None, timeout: float = 3.0) -> Server:
    """Ask one member after the other; the first that knows a running leader is believed.

    Raises PoolerError with what each of them said when none does. `timeout` is in seconds, for each member.
    """
    return _first(urls, "/cluster", parse_leader, "no member of Patroni names a leader", tls, timeout)


def max_connections(urls: Sequence[str], tls: ssl.SSLContext | None, timeout: float = 3.0) -> int:
    """What every member's PostgreSQL is started with. Raises PoolerError as `leader` does."""
    what = "no member of Patroni tells its configuration"
    return _first(urls, "/config", parse_max_connections, what, tls, timeout)


def parse_max_connections(config: str) -> int:
    """In the answer to GET /config. Raises PoolerError or ValueError for what is none."""
    found = json.loads(config)
    if not isinstance(found, dict):
        raise PoolerError("the configuration is not a mapping")
    parameters = (found.get("postgresql") or {}).get("parameters") or {}
    told = parameters.get("max_connections", MAX_CONNECTIONS)
    if not str(told).isdecimal():
        raise PoolerError(f"max_connections {told!r} is not a number")
    return int(str(told))


def parse_leader(cluster: str) -> Server:
    """The leader in the answer to GET /cluster. Raises PoolerError when there is none, ValueError for no JSON."""
    for member in json.loads(cluster).get("members", ()):
        if member.get("role") in LEADS and member.get("state") == "running" and member.get("host"):
            return Server(str(member["host"]), int(member.get("port", 5432)))
    raise PoolerError("the cluster has no running leader")


def parse(text: str) -> Cluster:
    """Raises PoolerError for what is no answer to GET /cluster."""
    try:
        found = json.loads(text)
        scheduled = found.get("scheduled_switchover") or {}
        return Cluster(
            members=tuple(_member(member) for member in found["members"]),
            paused=bool(found.get("pause")),
            scheduled=" ".join(f"{key} {value}" for key, value in sorted(scheduled.items())),
        )
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise PoolerError(f"is not what Patroni answers to GET /cluster ({type(error).__name__}: {error})") from None


def _member(given: Mapping[str, object]) -> Member:
    lag, timeline, tags = given.get("lag"), given.get("timeline"), given.get("tags")
    return Member(
        name=str(given["name"]),
        role=str(given["role"]),
        state=str(given["state"]),
        host=str(given.get("host") or ""),
        port=int(str(given.get("port") or 5432)),
        api_url=str(given.get("api_url") or ""),
        timeline=timeline if isinstance(timeline, int) else None,
        lag=lag if isinstance(lag, int) else None,
        tags=dict(tags) if isinstance(tags, Mapping) else {},
    )


def _first(
    urls: Sequence[str],
    path: str,
    parse_answer: Callable[[str], _Found],
    nobody: str,
    tls: ssl.SSLContext | None,
    timeout: float,
) -> _Found:
    """The first answer that can be understood."""
    said = []
    for url in urls:
        try:
            return parse_answer(_get(url.rstrip("/") + path, tls, timeout))
        except (OSError, http.client.HTTPException, ValueError, PoolerError) as error:
            said.append(f"{url}: {error}")
    raise PoolerError(f"{nobody}: {'; '.join(said)}")


def _get(url: str, tls: ssl.SSLContext | None, timeout: float) -> str:
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or 8008
    connection: http.client.HTTPConnection
    if parts.scheme == "https":
        connection = http.client.HTTPSConnection(host, port, timeout=timeout, context=tls)
    else:
        connection = http.client.HTTPConnection(host, port, timeout=timeout)
    try:
        connection.request("GET", parts.path)
        answer = connection.getresponse()
        body = answer.read().decode()
    finally:
        connection.close()
    if answer.status != 200:
        raise PoolerError(f"answered {answer.status}")
    return body
