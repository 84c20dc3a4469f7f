"""Stand-ins for the agents' control API, with the authority and leaves of a fleet."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from pooler.certificates import LeafRequest, Usage, issue, new_authority

ROLE = "pgbouncer"
FELT = {"stall": 1.5, "failed": 0, "done": 40}


@dataclass(frozen=True)
class Fleet:
    """Directories of leaves: `server` names 127.0.0.1, `client` is the role's, `stranger` another role's."""

    server: Path
    client: Path
    stranger: Path
    elsewhere: Path
    """A server's leaf that names another host."""

    def context(self, leaf: Path | None) -> ssl.SSLContext:
        made = ssl.create_default_context(cafile=str(self.server / "ca.crt"))
        if leaf is not None:
            made.load_cert_chain(leaf / "tls.crt", leaf / "tls.key")
        return made


def fleet(directory: Path) -> Fleet:
    authority = new_authority("fleet", now=datetime.now(UTC))

    def leaf(name: str, addresses: tuple[str, ...], usage: Usage) -> Path:
        made = issue(authority, LeafRequest(name, (), addresses, frozenset({usage})), datetime.now(UTC))
        place = directory / f"{name}-{made.serial_hex}"
        place.mkdir()
        (place / "tls.crt").write_text(made.certificate_pem)
        (place / "tls.key").write_bytes(made.key_pem)
        (place / "ca.crt").write_text(made.authority_pem)
        return place

    return Fleet(
        server=leaf("pool1", ("127.0.0.1",), "server"),
        client=leaf(ROLE, (), "client"),
        stranger=leaf("application", (), "client"),
        elsewhere=leaf("pool2", ("127.0.0.2",), "server"),
    )


@dataclass
class StandIn:
    """What it was told, in order, and how it is to fail: a status and words by path.

    `lose` ends the connection instead of an answer, `close` after it.
    """

    url: str = ""
    told: list[tuple[str, Mapping[str, Any]]] = field(default_factory=list)
    fails: dict[str, tuple[int, str]] = field(default_factory=dict)
    lose: set[str] = field(default_factory=set)
    close: set[str] = field(default_factory=set)
    left: threading.Event = field(default_factory=threading.Event)
    """Set when the connection that held it has ended."""
    before: Callable[[str], None] = lambda _path: None

    @property
    def paths(self) -> list[str]:
        return [path for path, _body in self.told]


class Quiet(ThreadingHTTPServer):
    """Clients that hang up are a part of the tests."""

    daemon_threads = True

    def handle_error(self, *_arguments: object) -> None:
        """Without a traceback."""


@contextmanager
def agent(leaves: Fleet, leaf: Path | None = None) -> Iterator[StandIn]:
    stand_in = StandIn()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True
        held = False

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            stand_in.before(self.path)
            stand_in.told.append((self.path, body))
            subject = dict(pair[0] for pair in (self.connection.getpeercert() or {}).get("subject", ()))
            status = 200
            answer: dict[str, object] = dict(FELT) if self.path == "/canary/stop" else {}
            if subject.get("commonName") != ROLE:
                status, answer = 403, {"error": f"only {ROLE} may"}
            elif self.path in stand_in.lose:
                self.close_connection = True
                return
            elif self.path in stand_in.fails:
                status, words = stand_in.fails[self.path]
                answer = {"error": words}
            self.held = self.held or (self.path == "/hold" and status == 200)
            text = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(text)))
            if self.path in stand_in.close:
                self.send_header("Connection", "close")
            self.end_headers()
            self.wfile.write(text)

        def finish(self) -> None:
            super().finish()
            if self.held:
                stand_in.left.set()

        def log_message(self, *_arguments: object) -> None:
            """Quiet."""

    place = leaf or leaves.server
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(place / "tls.crt", place / "tls.key")
    context.load_verify_locations(place / "ca.crt")
    context.verify_mode = ssl.CERT_OPTIONAL
    server = Quiet(("127.0.0.1", 0), Handler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    stand_in.url = f"https://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield stand_in
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
