"""Which certificate a port shows, asked of a server of this process."""

from __future__ import annotations

import json
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pooler import certificates, served


@pytest.fixture(params=["tls", "postgresql"])
def port(request: pytest.FixtureRequest, leaf: certificates.Leaf, tmp_path: Path) -> Iterator[dict[str, object]]:
    """Of a server that shows the leaf; where PostgreSQL's way is spoken, once it was asked for TLS."""
    crt, key = tmp_path / "tls.crt", tmp_path / "tls.key"
    crt.write_text(leaf.certificate_pem)
    key.write_bytes(leaf.key_pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(crt, key)
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                plain, _address = listener.accept()
            except OSError:
                return
            with plain:
                if request.param == "postgresql":
                    assert len(plain.recv(8, socket.MSG_WAITALL)) == 8
                    plain.sendall(b"S")
                with context.wrap_socket(plain, server_side=True) as secure:
                    secure.recv(1)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()

    yield {"host": "127.0.0.1", "port": listener.getsockname()[1], "protocol": request.param, "times": 2}
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join()


@pytest.fixture
def leaf() -> certificates.Leaf:
    now = datetime.now(UTC)
    authority = certificates.new_authority("test", now=now)
    return certificates.issue(authority, certificates.LeafRequest("h1", ("h1",)), now)


def test_a_port_shows_the_certificate_of_its_server(port: dict[str, object], leaf: certificates.Leaf) -> None:
    command = [sys.executable, "-I", str(served.__file__), json.dumps([port])]
    (answer,) = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    der = bytes.fromhex(answer["certificates"])
    assert leaf.certificate_pem.startswith(ssl.DER_cert_to_PEM_cert(der).strip())
    assert answer["error"] == ""


def test_a_port_that_nobody_serves_is_told(port: dict[str, object]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        free = taken.getsockname()[1]
    (answer,) = served.main([{**port, "port": free}])
    assert answer["certificates"] == ""
    assert "refused" in answer["error"]


def test_the_fingerprint_is_that_of_the_first_certificate(leaf: certificates.Leaf) -> None:
    told = served.fingerprint(leaf.certificate_pem)
    assert told == certificates.inspect(leaf.certificate_pem).fingerprint_sha256
