"""What ports show beside what lies on the host: a real shell, handshakes with a server of this process."""

from __future__ import annotations

import os
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.pgfleet.pooler.plugins.action import certificate_info
from ansible_collections.pgfleet.pooler.plugins.plugin_utils.authority import AuthorityFiles
from ansible_collections.pgfleet.pooler.plugins.plugin_utils.host import Host
from ansible_collections.pgfleet.pooler.pooler import certificates
from ansible_collections.pgfleet.pooler.pooler.certificates import Leaf

NOW = datetime.now(UTC)
AUTHORITY = certificates.new_authority("test", now=NOW - timedelta(days=100))
PODMAN = """\
#!/bin/sh
# Containers of the host are the host itself.
case $1 in
  ps) printf '%s\\n' $RUNNING ;;
  exec) [ "$WITHOUT_PYTHON" != yes ] || exit 127; shift 2; exec "$@" ;;
esac
"""


class Bench:
    """A host with a leaf on the disk and a port that may show another."""

    def __init__(self, root: Path) -> None:
        self.root, self.leaf = root, root / "leaf"
        self.environment = {**os.environ, "PATH": f"{root}/bin:{os.environ['PATH']}", "RUNNING": "pgbouncer-50001"}
        (root / "bin").mkdir()
        (root / "bin" / "podman").write_text(PODMAN)
        (root / "bin" / "podman").chmod(0o755)
        (root / "pki").mkdir()
        AuthorityFiles(root / "pki").write(AUTHORITY, "a passphrase")
        self.put(issue())
        self.port = 0

    def put(self, leaf: Leaf) -> None:
        current = self.leaf / "current"
        current.mkdir(parents=True, exist_ok=True)
        (current / "tls.crt").write_text(leaf.certificate_pem)
        (current / "ca.crt").write_text(leaf.authority_pem)

    def ask(self, **entry: Any) -> dict[str, Any]:
        action = certificate_info.ActionModule.__new__(certificate_info.ActionModule)
        action.host = lambda: Host("h1", self.execute)
        port = {"directory": str(self.leaf), "host": "127.0.0.1", "port": self.port, "protocol": "tls", "times": 3}
        ports = [port | {"container": None, "authority_directory": str(self.root / "pki")} | entry]
        result: dict[str, Any] = action.perform({"ports": ports})
        return result

    def execute(self, command: str, data: bytes) -> Mapping[str, Any]:
        done = subprocess.run(["sh", "-c", command], input=data, capture_output=True, check=False, env=self.environment)
        return {"rc": done.returncode, "stdout": done.stdout.decode(), "stderr": done.stderr.decode()}


def issue(days: int = 90, age: int = 0) -> Leaf:
    return certificates.issue(AUTHORITY, certificates.LeafRequest("h1", ("h1",), days=days), NOW - timedelta(days=age))


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """Its port shows what lay on the disk when it was opened."""
    bench = Bench(tmp_path)
    leaf = issue()
    bench.put(leaf)
    (tmp_path / "tls.key").write_bytes(leaf.key_pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(bench.leaf / "current" / "tls.crt", tmp_path / "tls.key")
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    plain, _address = listener.accept()
                    with plain, context.wrap_socket(plain, server_side=True) as secure:
                        secure.recv(1)
                except OSError:
                    if listener.fileno() < 0 or stopping.is_set():
                        return

        stopping = threading.Event()
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        bench.port = listener.getsockname()[1]
        yield bench
        stopping.set()
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


def test_a_port_that_shows_what_lies_there_is_not_stale(bench: Bench) -> None:
    asked = bench.ask()
    assert asked["stale"] == []
    assert asked["trips"] == 1
    (port,) = asked["ports"]
    assert port["fingerprints"] == [port["wanted"]]
    assert 89 < port["days"] <= 90
    assert not port["due"]


def test_a_port_that_shows_what_lay_there_before_is_stale(bench: Bench) -> None:
    bench.put(issue())
    (why,) = bench.ask()["stale"]
    assert f"port {bench.port} shows" in why


def test_a_port_that_nobody_serves_is_stale(bench: Bench) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        free = taken.getsockname()[1]
    (why,) = bench.ask(port=free)["stale"]
    assert "refused" in why


def test_who_trusts_another_bundle_than_the_authoritys_is_stale(bench: Bench) -> None:
    (bench.root / "pki" / "ca.crt").write_text(AUTHORITY.certificate_pem * 2)
    assert "ca.crt is not that of the authority" in bench.ask()["stale"][0]
    assert bench.ask(authority_directory=None)["stale"] == []


def test_without_a_port_the_files_alone_are_looked_at(bench: Bench) -> None:
    assert bench.ask(port=None)["stale"] == []
    (bench.leaf / "current" / "tls.crt").unlink()
    assert "holds no certificate" in bench.ask(port=None)["stale"][0]


def test_a_port_of_a_container_that_does_not_run_is_left_out(bench: Bench) -> None:
    assert bench.ask(container="etcd")["ports"] == []
    assert len(bench.ask(container="pgbouncer-50001")["ports"]) == 1


def test_where_nobody_can_ask_that_is_told(bench: Bench) -> None:
    bench.environment["WITHOUT_PYTHON"] = "yes"
    asked = bench.ask()
    assert "has Python" in asked["warnings"][0]
    assert asked["stale"] == []


def test_the_last_third_of_a_life_is_told(bench: Bench) -> None:
    bench.put(issue(days=90, age=61))
    (port,) = bench.ask(port=None)["ports"]
    assert port["due"]
    assert 28 < port["days"] < 30
