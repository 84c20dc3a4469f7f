"""What a switchover orders of a real agent, and what is undone when nobody is there any more to order the rest."""

from __future__ import annotations

import http.client
import re
import threading
from collections.abc import Iterator

import psycopg
import pytest

from tests.engine.pair import ADDRESSES, Agent, Pair, pair, tell, until

WHERE = "SELECT host(inet_server_addr()), pg_is_in_recovery()"


@pytest.fixture
def two() -> Iterator[Pair]:
    with pair() as made:
        made.start_databases()
        made.start_instances(50001, 50002)
        yield made


@pytest.fixture
def agent(two: Pair) -> Agent:
    made = two.start_agent(pause_limit=20.0)
    made.until_ready()
    return made


def order(connection: http.client.HTTPConnection, path: str, **body: object) -> int:
    status, answer = tell(connection, path, body=body)
    assert (status == 200) == ("error" not in answer), answer
    return status


def paused(two: Pair) -> list[bool]:
    return [
        any(row["key"] == "paused" and row["value"] == "yes" for row in two.console("SHOW STATE", console))
        for console in two.instances
    ]


def test_a_switchover_loses_no_transaction(two: Pair, agent: Agent) -> None:
    first, second = two.databases
    failed: list[Exception] = []
    done = [0, 0]
    stop = threading.Event()

    def work(number: int) -> None:
        with two.client(50001 + number) as client:
            while not stop.is_set():
                try:
                    with client.transaction():
                        client.execute("SELECT 1")
                        client.execute("CREATE TEMPORARY TABLE t (a int) ON COMMIT DROP")
                    done[number] += 1
                except psycopg.Error as error:
                    failed.append(error)
                    return

    workers = [threading.Thread(target=work, args=(number,)) for number in range(2)]
    for worker in workers:
        worker.start()
    connection = agent.connect(leaf=True)
    assert order(connection, "/hold", seconds=60) == 200
    assert order(connection, "/canary") == 200
    assert order(connection, "/pause") == 200
    assert order(connection, "/point", host=ADDRESSES[1], port=5432, seconds=5) == 200
    assert paused(two) == [True, True]
    first.sql("CHECKPOINT")
    first.crash()
    two.patroni.leader, two.patroni.replicas = second.server, {}
    second.promote()
    before = list(done)
    assert order(connection, "/resume") == 200
    status, felt = tell(connection, "/canary/stop")
    assert (status, felt["failed"]) == (200, 0)
    assert felt["done"] > 0
    assert felt["stall"] > 0.1
    assert order(connection, "/release") == 200
    agent.until("leader", "127.0.0.12:5432")
    until(lambda: min(done) > max(before) + 5 or bool(failed))
    stop.set()
    for worker in workers:
        worker.join()
    assert failed == []
    assert agent.until_ready()["leader"] == "127.0.0.12:5432"
    assert agent.process.silent_on("hosts file: points at 127.0.0.11")
    assert agent.process.silent_on("takes no writes")


def test_who_goes_away_in_a_pause_has_it_ended(two: Pair, agent: Agent) -> None:
    connection = agent.connect(leaf=True)
    assert order(connection, "/hold", seconds=60) == 200
    assert order(connection, "/pause") == 200
    assert order(connection, "/point", host=ADDRESSES[1], port=5432, seconds=5) == 200
    assert paused(two) == [True, True]
    connection.close()
    agent.process.hears("RESUME")
    assert paused(two) == [False, False]
    # Back to where writes are taken, before anybody was let go on.
    assert {entry["host"] for entry in two.hosts().values()} == {ADDRESSES[0]}
    with two.client() as client:
        assert client.execute(WHERE).fetchone() == (ADDRESSES[0], False)
    assert agent.status()["held_for"] is None


def test_a_hold_ends_with_its_lease(two: Pair, agent: Agent) -> None:
    connection = agent.connect(leaf=True)
    assert order(connection, "/hold", seconds=1) == 200
    assert order(connection, "/pause") == 200
    agent.process.hears("the hold has run out")
    agent.process.hears("RESUME")
    assert paused(two) == [False, False]
    assert order(connection, "/pause") == 409
    assert order(connection, "/hold", seconds=1) == 200


def test_an_open_transaction_is_waited_for_and_then_the_pause_can_be_given_up(two: Pair, agent: Agent) -> None:
    connection = agent.connect(leaf=True)
    assert order(connection, "/hold", seconds=60) == 200
    with two.client(50002) as client, client.transaction():
        client.execute("SELECT 1")
        assert order(connection, "/pause") == 200
        elsewhere = {"host": ADDRESSES[1], "port": 5432, "seconds": 0.5}
        status, answer = tell(connection, "/point", body=elsewhere)
        assert status == 503
        assert answer["error"] == "instance 50002: transactions are open for more than 0.5 s"
        # It stays where it is, and in force, until whoever ordered it has undone what else was ordered.
        assert client.execute(WHERE).fetchone() == (ADDRESSES[0], False)
        assert order(connection, "/point", host=ADDRESSES[0], port=5432) == 200
        assert order(connection, "/resume") == 200
        assert paused(two) == [False, False]
        client.execute("SELECT 1")
    assert not two.record("pause.json").exists()
    assert order(connection, "/pause") == 200
    assert order(connection, "/point", host=ADDRESSES[0], port=5432, seconds=5) == 200
    assert order(connection, "/resume") == 200


def test_an_instance_that_does_not_answer_is_not_paused_over(two: Pair, agent: Agent) -> None:
    two.instances[50002].kill()
    until(lambda: not agent.status()["instances"]["50002"]["ready"])
    connection = agent.connect(leaf=True)
    assert order(connection, "/hold", seconds=60) == 200
    status, answer = tell(connection, "/pause", body={})
    assert status == 504
    # In the agent's words, or, when its console has not been looked at since, in those of the system.
    assert re.fullmatch(r"instance 50002(:.* refused| does not answer)", answer["error"])
    assert not paused_one(two)


def paused_one(two: Pair) -> bool:
    return any(row["key"] == "paused" and row["value"] == "yes" for row in two.console("SHOW STATE", 50001))


def test_an_agent_is_held_by_one_at_a_time_and_only_by_the_role(two: Pair, agent: Agent) -> None:
    one, other, stranger = agent.connect(leaf=True), agent.connect(leaf=True), agent.connect()
    assert order(stranger, "/hold", seconds=60) == 403
    assert order(other, "/pause") == 409
    assert order(one, "/hold", seconds=60) == 200
    assert order(one, "/hold", seconds=60) == 200
    assert order(other, "/hold", seconds=60) == 409
    assert order(other, "/resume") == 409
    assert order(one, "/release") == 200
    assert order(one, "/release") == 200
    assert order(one, "/resume") == 200
    assert order(other, "/hold", seconds=60) == 200
    assert tell(other, "/canary/stop") == (200, {"stall": 0.0, "failed": 0, "done": 0})
    assert tell(other, "/hold", body={"seconds": "long"})[0] == 400
    assert tell(other, "/hold", "GET")[0] == 405


def test_a_held_agent_does_not_follow(two: Pair, agent: Agent) -> None:
    connection = agent.connect(leaf=True)
    assert order(connection, "/hold", seconds=60) == 200
    first, second = two.databases
    second.promote()
    two.patroni.leader, two.patroni.replicas = second.server, {}
    agent.until_writable("127.0.0.12:5432")
    until(lambda: agent.status()["patroni"]["http://127.0.0.10:8008"]["leader"] == "127.0.0.12:5432")
    first.crash()
    until(lambda: agent.status()["servers"]["127.0.0.11:5432"]["misses"] >= 3)
    assert {entry["host"] for entry in two.hosts().values()} == {ADDRESSES[0]}
    assert paused(two) == [False, False]
    assert order(connection, "/release") == 200
    agent.process.hears("the leader is 127.0.0.12:5432")
