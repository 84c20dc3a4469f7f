"""`pooler switchover` as a whole: real agent, real instances, two real servers; the test is Patroni."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from pooler.agent.config import AgentConfig
from tests.engine.pair import ADDRESSES, PATRONI, PORT, ROLE, Agent, Pair, pair, until

PORT_OF_REST = 8018

_PLANNED = f"SELECT count(*) FROM pg_stat_activity WHERE usename = '{ROLE}' AND application_name = 'pooler-switchover'"


@dataclass
class Scene:
    """`order` is what Patroni does when it is told: it gives the status of its answer."""

    two: Pair
    agent: Agent
    order: Callable[[], int]
    ordered: list[dict[str, Any]] = field(default_factory=list)

    def begin(self, *options: str) -> subprocess.Popen[str]:
        leaf = str(self.two.place / "etc/leaf")
        config = self.two.place / "coordinator.json"
        config.write_text(
            AgentConfig(
                port=PORT,
                consoles=(50001, 50002),
                server_leaf=leaf,
                client_leaf=leaf,
                role=ROLE,
                dbname="postgres",
                patroni=(f"http://{PATRONI}:{PORT_OF_REST}",),
            ).to_json()
        )
        command = [sys.executable, "-m", "pooler.cli", "switchover", "--config", str(config), "--json"]
        with self.two.inside():
            return subprocess.Popen(
                [*command, "--agent", "https://127.0.0.1:9127", *options],
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            )

    def run(self, *options: str) -> tuple[int, dict[str, Any]]:
        process = self.begin(*options)
        said, _ = process.communicate(timeout=90)
        return process.returncode, json.loads(said)

    def promote(self) -> int:
        first, second = self.two.databases
        first.sql("CHECKPOINT")
        first.crash()
        self.two.patroni.leader, self.two.patroni.replicas = second.server, {}
        second.promote()
        return 200

    def paused(self) -> list[bool]:
        return [
            any(row["key"] == "paused" and row["value"] == "yes" for row in self.two.console("SHOW STATE", console))
            for console in self.two.instances
        ]

    def pointed(self) -> set[str]:
        return {entry["host"] for entry in self.two.hosts().values()}


@pytest.fixture
def scene() -> Iterator[Scene]:
    with pair() as two:
        two.start_databases()
        two.start_instances(50001, 50002)
        agent = two.start_agent(pause_limit=20.0)
        agent.until_ready()
        made = Scene(two, agent, lambda: 200)
        made.order = made.promote
        with two.inside():
            server = ThreadingHTTPServer((PATRONI, PORT_OF_REST), _handler(made))
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield made
        finally:
            server.shutdown()
            thread.join()
            server.server_close()


def _handler(scene: Scene) -> type[BaseHTTPRequestHandler]:
    """A stand-in for the REST API of the leader's Patroni."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            known = {"/config": {"synchronous_mode": False}, "/patroni": {"patroni": {"name": "l"}}}
            self.reply(200, known.get(self.path) or {"members": scene.two.patroni._members()})

        def do_POST(self) -> None:
            scene.ordered.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.reply(scene.order(), {})

        def reply(self, status: int, body: object) -> None:
            try:
                self.send_response(status)
                self.end_headers()
                self.wfile.write(json.dumps(body).encode())
            except OSError:
                return  # the command does not wait for this answer

        def log_message(self, *_arguments: object) -> None:
            """Quiet."""

    return Handler


def test_clients_of_the_old_leader_go_on_at_the_new_one_and_none_fails(scene: Scene) -> None:
    with scene.two.client() as client:
        assert client.execute("SELECT host(inet_server_addr())").fetchone() == (ADDRESSES[0],)
        status, report = scene.run()
        assert (status, report["error"]) == (0, "")
        assert client.execute("SELECT host(inet_server_addr())").fetchone() == (ADDRESSES[1],)
    assert scene.ordered == [{"leader": "l", "candidate": ADDRESSES[1]}]
    assert (report["leader"], report["candidate"], report["changed"]) == ("l", ADDRESSES[1], True)
    assert report["failed"] == 0
    assert report["done"] > 0
    assert 0 < report["patroni"] < report["stall"]
    assert scene.pointed() == {ADDRESSES[1]}
    assert scene.paused() == [False, False]
    assert scene.agent.until_ready()["leader"] == f"{ADDRESSES[1]}:5432"
    assert scene.agent.process.silent_on("takes no writes")


def test_scripts_of_the_old_leader_can_tell_that_it_is_planned(scene: Scene) -> None:
    sessions: list[int] = []

    def order() -> int:
        sessions.append(scene.two.databases[0].sql(_PLANNED))
        return 412

    scene.order = order
    scene.run()
    assert sessions == [1]


def test_when_patroni_refuses_everything_is_as_it_was(scene: Scene) -> None:
    scene.order = lambda: 412
    status, report = scene.run()
    assert status == 1
    assert "412" in report["error"]
    assert (report["changed"], report["failed"]) == (False, 0)
    assert scene.pointed() == {ADDRESSES[0]}
    assert scene.paused() == [False, False]
    assert scene.agent.until_ready()["leader"] == f"{ADDRESSES[0]}:5432"


def test_when_the_command_dies_as_patroni_is_told_the_agent_brings_clients_to_the_new_leader(scene: Scene) -> None:
    told, killed = threading.Event(), threading.Event()

    def order() -> int:
        told.set()
        assert killed.wait(30)
        return 200

    scene.order = order
    with scene.two.client() as client:
        process = scene.begin()
        assert told.wait(60)
        assert scene.paused() == [True, True]
        process.kill()
        assert process.communicate()[0] == ""
        killed.set()
        scene.promote()
        until(lambda: scene.pointed() == {ADDRESSES[1]} and scene.paused() == [False, False])
        assert client.execute("SELECT host(inet_server_addr())").fetchone() == (ADDRESSES[1],)


def test_an_old_transaction_of_a_role_that_we_may_not_look_at_is_named_and_nobody_is_held(scene: Scene) -> None:
    with scene.two.client() as client:
        client.execute("BEGIN")
        (process,) = client.execute("SELECT pg_backend_pid()").fetchone() or ()
        status, report = scene.run("--max-transaction", "0.3")
        assert status == 1
        assert f"process {process} of app" in report["error"]
        assert report["steps"] == []
        assert scene.ordered == []
        client.execute("COMMIT")


def test_a_transaction_that_does_not_end_in_time_ends_the_switchover_and_nothing_else(scene: Scene) -> None:
    with scene.two.client() as client:
        client.execute("BEGIN")
        status, report = scene.run("--max-transaction", "600", "--pause-timeout", "0.5")
        assert status == 1
        assert "transactions are open" in report["error"]
        assert (report["changed"], report["failed"]) == (False, 0)
        assert scene.paused() == [False, False]
        client.execute("COMMIT")
    assert scene.ordered == []


def test_check_says_that_it_could_be_done_and_does_nothing(scene: Scene) -> None:
    status, report = scene.run("--check")
    assert (status, report["error"], report["steps"]) == (0, "", [])
    assert (report["leader"], report["candidate"]) == ("l", ADDRESSES[1])
    assert scene.ordered == []
