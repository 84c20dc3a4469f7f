"""Who leads, by Patroni's own words."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from pooler import patroni
from pooler.errors import PoolerError
from pooler.server import Server


def cluster(*members: dict[str, object]) -> str:
    return json.dumps({"members": members})


LEADER: dict[str, object] = {"name": "b", "role": "leader", "state": "running", "host": "10.0.0.2", "port": 5433}
REPLICA: dict[str, object] = {
    "name": "a",
    "role": "sync_standby",
    "state": "streaming",
    "host": "10.0.0.1",
    "port": 5432,
}


def test_the_running_leader_is_found_among_the_members() -> None:
    assert patroni.parse_leader(cluster(REPLICA, LEADER)) == Server("10.0.0.2", 5433)


@pytest.mark.parametrize("state", ["starting", "stopped", "crashed"])
def test_a_leader_that_does_not_run_is_no_leader(state: str) -> None:
    with pytest.raises(PoolerError, match="no running leader"):
        patroni.parse_leader(cluster(REPLICA, LEADER | {"state": state}))


def test_a_standby_leader_takes_no_writes_and_is_no_leader() -> None:
    with pytest.raises(PoolerError, match="no running leader"):
        patroni.parse_leader(cluster(LEADER | {"role": "standby_leader"}))


def test_the_next_member_is_asked_when_one_does_not_answer() -> None:
    with member(cluster(LEADER)) as url:
        assert patroni.leader(["http://127.0.0.1:1", url], None) == Server("10.0.0.2", 5433)


def test_when_nobody_knows_a_leader_each_member_is_quoted() -> None:
    with member("{}") as url, pytest.raises(PoolerError) as error:
        patroni.leader(["http://127.0.0.1:1", url], None)
    assert "http://127.0.0.1:1: " in str(error.value)
    assert f"{url}: the cluster has no running leader" in str(error.value)


@contextmanager
def member(answer: str) -> Iterator[str]:
    """A stand-in for one member's REST API; the lab's scenarios ask real ones."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(answer.encode())

        def log_message(self, *_arguments: object) -> None:
            """Quiet."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
