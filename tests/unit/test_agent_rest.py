"""Patroni's REST API as the agent asks it: real TLS, a stand-in's answers."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pooler import certificates, patroni
from pooler.agent.rest import Api, view
from pooler.errors import PoolerError

CLUSTER = b'{"members": [{"name": "db1", "role": "leader", "state": "running", "host": "10.0.0.1", "port": 5432}]}'


class Member:
    """Answers each connection with `status` and `body`, or not at all when there is no status."""

    def __init__(self, place: Path) -> None:
        self.status, self.body = "200 OK", CLUSTER
        self.resumed: list[bool | None] = []
        self.asked: list[str] = []
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._tls.load_cert_chain(place / "tls.crt", place / "tls.key")
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = []
        self.url = f"https://127.0.0.1:{self._socket.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join()
        for each in self._open:
            each.close()

    def _serve(self) -> None:
        while True:
            try:
                plain, _address = self._socket.accept()
            except OSError:
                return
            self._open.append(plain)
            if self.status:
                # Of a client that refuses the certificate nothing more is heard.
                with contextlib.suppress(ssl.SSLError), self._tls.wrap_socket(plain, server_side=True) as connection:
                    self.resumed.append(connection.session_reused)
                    self.asked.append(connection.recv(4096).decode().partition("\r\n")[0])
                    connection.sendall(f"HTTP/1.0 {self.status}\r\n\r\n".encode() + self.body)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    now = datetime.now(UTC)
    authority = certificates.new_authority("test", now=now)
    leaf = certificates.issue(authority, certificates.LeafRequest("db1", addresses=("127.0.0.1",)), now)
    (tmp_path / "tls.crt").write_text(leaf.certificate_pem)
    (tmp_path / "tls.key").write_bytes(leaf.key_pem)
    (tmp_path / "ca.crt").write_text(leaf.authority_pem)
    return tmp_path


@pytest.fixture
def member(place: Path) -> Iterator[Member]:
    made = Member(place)
    yield made
    made.close()


@pytest.fixture
def api(member: Member, place: Path) -> Api:
    return Api(member.url, patroni.context(str(place / "ca.crt")))


def test_a_session_is_taken_up_again(api: Api, member: Member) -> None:
    for _question in range(3):
        seen = asyncio.run(view(api))
        assert seen.cluster
        assert seen.cluster.members[0].leads
    assert member.resumed == [False, True, True]


@pytest.mark.parametrize("end", ["", "/"])
def test_a_path_in_the_url_is_kept(member: Member, place: Path, end: str) -> None:
    asyncio.run(view(Api(f"{member.url}/behind/a/proxy{end}", patroni.context(str(place / "ca.crt")))))
    assert member.asked == ["GET /behind/a/proxy/cluster HTTP/1.0"]


def test_what_is_no_answer_is_told(api: Api, member: Member) -> None:
    member.status = "503 Service Unavailable"
    with pytest.raises(PoolerError, match="answered 503"):
        asyncio.run(api.get("/cluster", 5))
    member.status, member.body = "200 OK", b"x" * (2 << 20)
    with pytest.raises(PoolerError, match="too long"):
        asyncio.run(api.get("/cluster", 5))
    member.body = b"no json"
    assert asyncio.run(view(api)).error


def test_one_that_is_silent_is_waited_for_no_longer_than_said(api: Api, member: Member) -> None:
    member.status = ""
    with pytest.raises(TimeoutError):
        asyncio.run(api.get("/cluster", 0.2))
    # The next question is not behind it for ever.
    member.status = "200 OK"
    assert asyncio.run(api.get("/cluster", 10)) == CLUSTER.decode()


def test_a_certificate_of_another_name_or_authority_is_refused(member: Member, place: Path) -> None:
    elsewhere = member.url.replace("127.0.0.1", "localhost")
    assert "localhost" in asyncio.run(view(Api(elsewhere, patroni.context(str(place / "ca.crt"))))).error
    stranger = certificates.new_authority("another", now=datetime.now(UTC))
    (place / "ca.crt").write_text(stranger.certificate_pem)
    untrusting = Api(member.url, patroni.context(str(place / "ca.crt")))
    assert "certificate verify failed" in asyncio.run(view(untrusting)).error
