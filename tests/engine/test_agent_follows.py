"""The agent against real servers and engines: it follows the leader, and clients wait instead of failing."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from pooler.server import Server
from tests.engine.pair import ADDRESSES, Pair, pair, until

WHERE = "SELECT host(inet_server_addr()), pg_is_in_recovery()"


@pytest.fixture
def two() -> Iterator[Pair]:
    with pair() as made:
        made.start_databases()
        made.start_instances(50001, 50002)
        yield made


class Waiting:
    """A query that is sent now and answered when there is a server."""

    def __init__(self, two: Pair, console: int = 50001) -> None:
        self.result: list[Any] = []
        self._two = two
        self._console = console
        self._thread = threading.Thread(target=self._ask)
        self._thread.start()

    def answer(self) -> Any:
        self._thread.join(60)
        return self.result[0] if self.result else None

    def _ask(self) -> None:
        try:
            with self._two.client(self._console) as client:
                self.result.append(client.execute(WHERE).fetchone())
        except Exception as error:
            self.result.append(error)


def paused(two: Pair, console: int = 50001) -> bool:
    return any(row["key"] == "paused" and row["value"] == "yes" for row in two.console("SHOW STATE", console))


def test_it_becomes_ready_and_says_who_leads(two: Pair) -> None:
    agent = two.start_agent()
    assert agent.until_ready()["leader"] == "127.0.0.11:5432"
    serving = {name: {"ready": True, "reason": ""} for name in ("50001", "50002")}
    until(lambda: agent.until_ready()["instances"] == serving)
    assert agent.ask("/live") == (200, {"live": True})
    assert agent.ask("/ready/replica")[0] == 503
    assert agent.ask("/nothing")[0] == 404


def test_clients_wait_for_the_new_leader_when_the_old_one_dies(two: Pair) -> None:
    agent = two.start_agent()
    first, second = two.databases
    agent.until_ready()
    with two.client() as client:
        assert client.execute(WHERE).fetchone() == (ADDRESSES[0], False)
        first.crash()
        agent.process.hears("PAUSE")
        assert json.loads(two.record("pause.json").read_text())["reason"] == "loss"
        assert paused(two, 50001)
        assert paused(two, 50002)
        assert agent.ask("/ready")[1]["reason"] == "paused by the agent: loss"
        waiting = [Waiting(two, console) for console in (50001, 50002)]
        second.promote()
        two.patroni.leader, two.patroni.replicas = second.server, {}
        agent.process.hears("RESUME")
        assert [each.answer() for each in waiting] == [(ADDRESSES[1], False)] * 2
        # The session from before lives on: it was idle.
        assert client.execute(WHERE).fetchone() == (ADDRESSES[1], False)
    assert {entry["host"] for entry in two.hosts().values()} == {ADDRESSES[1]}
    assert not two.record("pause.json").exists()
    assert agent.until_ready()["leader"] == "127.0.0.12:5432"


def test_nobody_is_followed_whom_only_patroni_or_only_sql_calls_the_leader(two: Pair) -> None:
    agent = two.start_agent(pause_limit=5.0)
    first, second = two.databases
    agent.until_ready()
    # Patroni names a server that is in recovery.
    two.patroni.leader, two.patroni.replicas = second.server, {}
    first.crash()
    agent.process.hears("PAUSE")
    assert {entry["host"] for entry in two.hosts().values()} == {ADDRESSES[0]}
    # A server takes writes that Patroni does not call the leader.
    two.patroni.leader, two.patroni.replicas = None, {second.server: {}}
    until(lambda: agent.status()["patroni"]["http://127.0.0.10:8008"]["leader"] is None)
    second.promote()
    agent.process.hears("RESUME")  # by the limit
    assert {entry["host"] for entry in two.hosts().values()} == {ADDRESSES[0]}
    two.patroni.leader, two.patroni.replicas = second.server, {}
    agent.process.hears("the leader is 127.0.0.12:5432")
    agent.until_ready()
    assert {entry["host"] for entry in two.hosts().values()} == {ADDRESSES[1]}


def test_a_leader_that_comes_back_in_its_place_is_resumed(two: Pair) -> None:
    agent = two.start_agent()
    agent.until_ready()
    first = two.databases[0]
    first.crash()
    agent.process.hears("PAUSE")
    waiting = Waiting(two)
    first.start()
    agent.process.hears("RESUME")
    assert waiting.answer() == (ADDRESSES[0], False)


def test_a_pause_ends_by_its_limit_and_is_not_made_again_for_the_same_loss(two: Pair) -> None:
    agent = two.start_agent(pause_limit=1.0)
    agent.until_ready()
    first = two.databases[0]
    first.crash()
    agent.process.hears("PAUSE")
    agent.process.hears("RESUME")
    assert not paused(two)
    assert not two.record("pause.json").exists()
    misses = agent.status()["servers"]["127.0.0.11:5432"]["misses"]
    while agent.status()["servers"]["127.0.0.11:5432"]["misses"] < misses + 10:
        assert not paused(two)
    first.start()
    agent.process.hears("takes writes")
    first.crash()
    agent.process.hears("PAUSE")


def test_without_pause_on_loss_nobody_is_paused(two: Pair) -> None:
    agent = two.start_agent(pause_on_loss=False)
    agent.until_ready()
    two.databases[0].crash()
    agent.process.hears("takes no writes")
    agent.until_ready(ready=False)
    assert not paused(two)
    assert agent.process.silent_on("PAUSE")


def test_the_higher_timeline_wins_while_the_old_leader_still_takes_writes(two: Pair) -> None:
    agent = two.start_agent()
    first, second = two.databases
    agent.until_ready()
    second.promote()
    two.patroni.leader, two.patroni.replicas = second.server, {}
    agent.process.hears("the leader is 127.0.0.12:5432")
    # Whom a member that is cut off still names is not followed back.
    two.patroni.leader, two.patroni.replicas = first.server, {second.server: {}}
    agent.until("leader", "127.0.0.12:5432")
    until(lambda: agent.status()["patroni"]["http://127.0.0.10:8008"]["leader"] == "127.0.0.11:5432")
    assert agent.until_ready()["leader"] == "127.0.0.12:5432"
    assert {entry["host"] for entry in two.hosts().values()} == {ADDRESSES[1]}
    assert agent.process.silent_on("PAUSE")


def test_the_last_leader_stays_while_patroni_is_silent(two: Pair) -> None:
    agent = two.start_agent()
    agent.until_ready()
    two.patroni.close()
    until(lambda: bool(agent.status()["patroni"]["http://127.0.0.10:8008"]["error"]))
    assert agent.until_ready()["leader"] == "127.0.0.11:5432"
    with two.client() as client:
        assert client.execute(WHERE).fetchone() == (ADDRESSES[0], False)
    assert agent.process.silent_on("PAUSE")


def test_a_hosts_file_that_was_edited_is_put_right(two: Pair) -> None:
    agent = two.start_agent()
    agent.until_ready()
    before = two.hosts()
    with two.client() as client:
        two.write_hosts({name: {**entry, "host": ADDRESSES[1]} for name, entry in before.items()})
        for console in (50001, 50002):
            two.console("RELOAD", console)
        assert client.execute(WHERE).fetchone() == (ADDRESSES[1], True)
        agent.process.hears("hosts file: points at 127.0.0.11")
        agent.until_ready()
        assert two.hosts() == before
        assert client.execute(WHERE).fetchone() == (ADDRESSES[0], False)
    for console in (50001, 50002):
        rows = {row["name"]: row["host"] for row in two.console("SHOW DATABASES", console)}
        assert {rows["app"], rows["pgbouncer_agent"]} == {ADDRESSES[0]}


def test_an_instance_that_reads_an_older_file_is_told_again(two: Pair) -> None:
    """The file is right, the instance is not: somebody was quicker than a RELOAD."""
    agent = two.start_agent()
    agent.until_ready()
    right = two.hosts()
    two.write_hosts({name: {**entry, "host": ADDRESSES[1]} for name, entry in right.items()})
    two.console("RELOAD")
    two.write_hosts(right)
    agent.until_ready()
    until(lambda: (ADDRESSES[0], "app") in [(row["host"], row["name"]) for row in two.console("SHOW DATABASES")])


def test_the_file_is_left_to_whoever_owns_it(two: Pair) -> None:
    agent = two.start_agent()
    agent.until_ready()
    first, second = two.databases
    handle = os.open(two.place / "etc/databases", os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        second.promote()
        two.patroni.leader, two.patroni.replicas = second.server, {}
        agent.process.hears("the leader is 127.0.0.12:5432")
        before = two.hosts()
        assert {entry["host"] for entry in before.values()} == {ADDRESSES[0]}
        # What the owner has written meanwhile stays.
        two.write_hosts({**before, "other": {"dbname": "postgres", "host": "elsewhere.example"}})
    finally:
        os.close(handle)
    agent.process.hears("hosts file: points at 127.0.0.12")
    found = two.hosts()
    assert found.pop("other") == {"dbname": "postgres", "host": "elsewhere.example"}
    assert {entry["host"] for entry in found.values()} == {ADDRESSES[1]}
    assert first.server == Server(ADDRESSES[0])


def test_an_agent_that_was_killed_in_its_pause_ends_it_when_it_is_back(two: Pair) -> None:
    agent = two.start_agent()
    agent.until_ready()
    first, second = two.databases
    first.crash()
    agent.process.hears("PAUSE")
    agent.process.kill()
    waiting = Waiting(two)
    second.promote()
    two.patroni.leader, two.patroni.replicas = second.server, {}
    agent = two.start_agent()
    agent.process.hears("RESUME")
    assert waiting.answer() == (ADDRESSES[1], False)
    assert not paused(two, 50002)


def test_an_agent_that_is_stopped_ends_its_own_pause(two: Pair) -> None:
    agent = two.start_agent()
    agent.until_ready()
    two.databases[0].crash()
    agent.process.hears("PAUSE")
    agent.process.kill(signal.SIGTERM)
    assert agent.process.popen.returncode == 0
    assert not paused(two)
    assert not two.record("pause.json").exists()


def test_no_session_of_the_agent_holds_up_an_instance_that_is_to_end(two: Pair) -> None:
    agent = two.start_agent()
    agent.until_ready()
    two.console("SHUTDOWN WAIT_FOR_CLIENTS")
    two.instances[50001].popen.wait(10)
    until(lambda: not agent.until_ready()["instances"]["50001"]["ready"])
    assert agent.until_ready()["instances"]["50002"]["ready"]
    two.start_instance(50001)
    until(lambda: bool(agent.until_ready()["instances"]["50001"]["ready"]))
