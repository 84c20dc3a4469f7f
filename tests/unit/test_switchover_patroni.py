"""Questions and orders to Patroni's REST API, against stand-ins for its members."""

from __future__ import annotations

import base64
import json
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from pooler.errors import PoolerError
from pooler.switchover.patroni_rest import Rest


@dataclass
class Member:
    """Answers by path: status and text. `orders` are the bodies of POSTs, `arrived` is set with the first."""

    answers: dict[str, tuple[int, str]]
    url: str = ""
    orders: list[tuple[str, object]] = field(default_factory=list)
    authorization: list[str | None] = field(default_factory=list)
    arrived: threading.Event = field(default_factory=threading.Event)
    answer: threading.Event = field(default_factory=threading.Event)
    """A POST is answered only when this is set."""


@contextmanager
def member(**answers: tuple[int, str]) -> Iterator[Member]:
    stand_in = Member({f"/{path}": answer for path, answer in answers.items()})

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            stand_in.authorization.append(self.headers["Authorization"])
            self.reply()

        def do_POST(self) -> None:
            stand_in.orders.append((self.path, json.loads(self.rfile.read(int(self.headers["Content-Length"])))))
            stand_in.arrived.set()
            stand_in.answer.wait(20)
            self.reply()

        def reply(self) -> None:
            status, text = stand_in.answers.get(self.path, (404, ""))
            self.send_response(status)
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_arguments: object) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    stand_in.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield stand_in
    finally:
        stand_in.answer.set()
        server.shutdown()
        thread.join()
        server.server_close()


CLUSTER = json.dumps(
    {
        "members": [
            {"name": "db1", "role": "leader", "state": "running", "api_url": "https://10.0.0.1:8008/patroni"},
            {"name": "db2", "role": "replica", "state": "streaming", "api_url": "https://10.0.0.2:8008/patroni"},
        ]
    }
)


def named(name: str) -> str:
    return json.dumps({"state": "running", "patroni": {"name": name, "scope": "demo"}})


def rest(*members: Member) -> Rest:
    return Rest(tuple(each.url for each in members), None)


DEAD = Member({}, "http://127.0.0.1:1")


def test_the_next_member_is_asked_when_one_is_silent_or_has_trouble() -> None:
    with member(cluster=(503, "")) as one, member(cluster=(200, CLUSTER)) as two:
        assert [each.name for each in rest(DEAD, one, two).cluster().members] == ["db1", "db2"]


def test_when_none_answers_each_is_quoted() -> None:
    with member(cluster=(503, "")) as one, pytest.raises(PoolerError) as error:
        rest(DEAD, one).cluster()
    assert f"{one.url}: answered 503" in str(error.value)
    assert DEAD.url in str(error.value)


@pytest.mark.parametrize(
    ("configuration", "synchronous"),
    [
        ({}, False),
        ({"synchronous_mode": False}, False),
        ({"synchronous_mode": "off"}, False),
        ({"synchronous_mode": True}, True),
        ({"synchronous_mode": "on"}, True),
        ({"synchronous_mode": "quorum"}, True),
    ],
)
def test_the_dynamic_configuration_says_whether_commits_wait(configuration: object, synchronous: bool) -> None:
    with member(config=(200, json.dumps(configuration))) as one:
        assert rest(one).synchronous() is synchronous


def test_a_member_is_asked_at_the_address_that_was_given_even_while_it_says_503() -> None:
    with member(cluster=(200, CLUSTER), patroni=(200, named("db2"))) as two, member(patroni=(503, named("db1"))) as one:
        members = rest(two, DEAD, one)
        leader = members.cluster().members[0]
        assert members.url(leader) == one.url


def test_a_member_whose_address_was_not_given_is_asked_where_it_says_itself() -> None:
    with member(cluster=(200, CLUSTER), patroni=(200, named("db2"))) as two:
        members = rest(two)
        assert members.url(members.cluster().members[0]) == "https://10.0.0.1:8008"


def test_user_and_password_go_with_each_request_and_into_no_representation() -> None:
    password = secrets.token_hex(8)
    with member(cluster=(200, CLUSTER)) as one:
        members = Rest((one.url,), None, "admin", password)
        members.cluster()
    scheme, _blank, pair = str(one.authorization[0]).partition(" ")
    assert (scheme, base64.b64decode(pair).decode()) == ("Basic", f"admin:{password}")
    assert password not in repr(members)


def test_an_order_is_sent_without_waiting_for_its_answer() -> None:
    with member(switchover=(200, "Successfully switched over")) as one:
        order = rest(one).order(one.url, "/switchover", {"leader": "db1", "candidate": "db2"}, 20)
        assert one.orders == []
        order.send()
        assert one.arrived.wait(20)
        assert order.sent
        assert not order.refused
    assert one.orders == [("/switchover", {"leader": "db1", "candidate": "db2"})]


def test_a_path_in_the_url_is_kept() -> None:
    with member(**{"behind/a/proxy/cluster": (200, CLUSTER), "behind/a/proxy/switchover": (412, "no")}) as one:
        one.answer.set()
        url = f"{one.url}/behind/a/proxy"
        members = Rest((url,), None)
        assert [each.name for each in members.cluster().members] == ["db1", "db2"]
        order = members.order(url, "/switchover", {}, 20)
        order.send()
        assert order.over.wait(20)
    assert order.refused == f"{url}/switchover: 412: no"


def test_a_refused_order_has_the_words_of_patroni() -> None:
    with member(switchover=(412, "leader name does not match")) as one:
        one.answer.set()
        order = rest(one).order(one.url, "/switchover", {}, 20)
        order.send()
        assert order.over.wait(20)
    assert order.refused == f"{one.url}/switchover: 412: leader name does not match"


def test_an_order_whose_answer_is_lost_may_be_carried_out_and_is_not_taken_for_refused() -> None:
    with member(switchover=(200, "")) as one:
        order = rest(one).order(one.url, "/switchover", {}, 0.05)
        order.send()
        assert order.over.wait(20)
    assert order.refused == ""


def test_a_member_that_cannot_be_reached_is_named_before_anything_is_sent() -> None:
    with pytest.raises(PoolerError, match=r"^http://127.0.0.1:1: "):
        rest(DEAD).order(DEAD.url, "/switchover", {}, 20)
