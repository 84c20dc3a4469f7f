"""Patroni's REST API: who leads the cluster (GET /cluster, Patroni 4.0)."""

from __future__ import annotations

import http.client
import json
import ssl
from collections.abc import Sequence
from urllib.parse import urlsplit

from .errors import PoolerError
from .server import Server

_ROLES_THAT_LEAD = ("leader", "master", "primary")


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
    said = []
    for url in urls:
        try:
            return parse_leader(_get(url.rstrip("/") + "/cluster", tls, timeout))
        except (OSError, http.client.HTTPException, ValueError, PoolerError) as error:
            said.append(f"{url}: {error}")
    raise PoolerError("no member of Patroni names a leader: " + "; ".join(said))


def parse_leader(cluster: str) -> Server:
    """The leader in the answer to GET /cluster. Raises PoolerError when there is none, ValueError for no JSON."""
    for member in json.loads(cluster).get("members", ()):
        if member.get("role") in _ROLES_THAT_LEAD and member.get("state") == "running" and member.get("host"):
            return Server(str(member["host"]), int(member.get("port", 5432)))
    raise PoolerError("the cluster has no running leader")


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
