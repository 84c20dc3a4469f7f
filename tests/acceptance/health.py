"""The agent's endpoints, asked as a load balancer, a monitoring host or somebody without rights would."""

from __future__ import annotations

import http.client
import json
import ssl
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pooler import certificates
from pooler.certificates import Authority, LeafRequest

from .scenario import POOLER, Scenario

PORT = 9127


def ask(
    scenario: Scenario, path: str, *, method: str = "GET", leaf: Path | None = None, host: str = POOLER
) -> tuple[int, dict[str, Any]]:
    """Status and answer over TLS, the agent's name checked; `leaf` is a directory with tls.crt and tls.key."""
    context = ssl.create_default_context(cafile=str(scenario.root))
    if leaf:
        context.load_cert_chain(leaf / "tls.crt", leaf / "tls.key")
    connection = http.client.HTTPSConnection(scenario.addresses[host], PORT, timeout=10, context=context)
    try:
        connection.request(method, path, body=b"{}" if method == "POST" else None)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read() or b"{}")
    finally:
        connection.close()


def leaf(scenario: Scenario, name: str, directory: Path) -> Path:
    """A client's certificate of our own authority, for another role."""
    key = (scenario.root.parent / "ca.key").read_bytes()
    authority = Authority(
        scenario.root.read_text(), certificates.unlock(key, scenario.variables["certificates_passphrase"])
    )
    request = LeafRequest(name, usages=frozenset({"client"}))
    issued = certificates.issue(authority, request, datetime.now(UTC))
    (directory / "tls.crt").write_text(issued.certificate_pem)
    (directory / "tls.key").write_bytes(issued.key_pem)
    return directory


def until(what: Callable[[], bool], seconds: float = 30) -> bool:
    """Ask again and again, each time anew over the network, until it is so or the time is over."""
    ends = time.monotonic() + seconds
    while not what():
        if time.monotonic() > ends:
            return False
    return True
