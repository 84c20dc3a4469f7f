"""Pauses of others, hosts with several kinds of databases, and replicas: a real agent tells them apart."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator

import psycopg
import pytest

from pooler.agent.config import Target
from tests.engine.pair import ADDRESSES, Entries, Pair, pair, tell, until

WHERE = "SELECT host(inet_server_addr()), pg_is_in_recovery()"
MIXED: Entries = {
    "app": {"dbname": "postgres"},
    "pgbouncer_agent": {"dbname": "postgres", "pool_size": "1"},
    "pgbouncer_agent_replica": {"dbname": "postgres", "pool_size": "1"},
    "reading": {"dbname": "postgres", "load_balance_hosts": "round-robin"},
    "fixed": {"dbname": "postgres", "host": ADDRESSES[1]},
}
TARGETS: dict[str, Target] = {
    "app": "leader",
    "pgbouncer_agent": "leader",
    "pgbouncer_agent_replica": "replica",
    "reading": "replica",
}


@pytest.fixture
def two() -> Iterator[Pair]:
    with pair() as made:
        made.start_databases()
        yield made


def paused(two: Pair, console: int = 50001) -> set[str]:
    """Databases that are paused, `*` for everything."""
    found = {row["name"] for row in two.console("SHOW DATABASES", console) if row["paused"]}
    state = {row["key"]: row["value"] for row in two.console("SHOW STATE", console)}
    return found | ({"*"} if state["paused"] == "yes" else set())


def test_what_operators_have_paused_is_paused_again_after_a_restart_and_stays(two: Pair) -> None:
    two.start_instances(50001, 50002)
    two.record("paused").write_text("*\n")
    agent = two.start_agent()
    until(lambda: bool(paused(two) and paused(two, 50002)))
    assert agent.until_ready(ready=False)["reason"] == "paused by an operator"
    two.instances[50001].kill()
    two.start_instance(50001)
    until(lambda: bool(paused(two)))
    # A pause of its own comes and goes, that of the operator stays.
    agent.until_writable("127.0.0.11:5432")
    first = two.databases[0]
    first.crash()
    agent.process.hears("PAUSE")
    first.start()
    agent.process.hears("RESUME")
    assert paused(two) == paused(two, 50002) == {"*"}
    two.record("paused").unlink()
    for console in two.instances:
        two.console("RESUME", console)
    agent.until_ready()
    assert paused(two) == set()


def test_a_single_database_that_operators_have_paused_stays_paused(two: Pair) -> None:
    two.start_instances(50001)
    two.record("paused").write_text("app\n")
    agent = two.start_agent()
    until(lambda: paused(two) == {"app"})
    agent.until_writable("127.0.0.11:5432")
    first = two.databases[0]
    first.crash()
    agent.process.hears("PAUSE")
    assert paused(two) == {"app", "*"}
    first.start()
    agent.process.hears("RESUME")
    assert paused(two) == {"app"}


def test_an_instance_that_is_down_when_a_pause_ends_holds_up_nobody(two: Pair) -> None:
    two.start_instances(50001, 50002)
    agent = two.start_agent()
    agent.until_ready()
    agent.until_writable("127.0.0.11:5432")
    first = two.databases[0]
    first.crash()
    agent.process.hears("PAUSE")
    two.instances[50002].popen.send_signal(signal.SIGSTOP)
    first.start()
    agent.process.hears("RESUME")
    assert agent.until_ready()["instances"]["50001"]["ready"]
    assert not agent.until_ready()["instances"]["50002"]["ready"]
    # It has been paused all the while, and is told when it answers again.
    two.instances[50002].popen.send_signal(signal.SIGCONT)
    until(lambda: bool(agent.until_ready()["instances"]["50002"]["ready"]))
    assert not two.record("pause.json").exists()


def test_who_comes_after_a_crash_is_not_told_of_it(two: Pair) -> None:
    """The engine turns away the next client of a pool whose last login failed, unless its login has to wait."""
    two.start_instances(50001)
    agent = two.start_agent()
    agent.until_ready()
    first = two.databases[0]
    agent.until_writable("127.0.0.11:5432")
    with contextlib.closing(two.client()) as before:
        before.execute("SELECT 1")
        agent.process.popen.send_signal(signal.SIGSTOP)
        first.crash()
        # Who is handed a dying session is sent away with it, and then nobody waits.
        until(lambda: not two.console("SHOW SERVERS"))
        # The engine tries to enter for who waits, and turns away whoever comes then.
        waiting = two.client()
        waiting.pgconn.send_query(b"SELECT 1")
        assert turned_away(two)
        waiting.close()
    agent.process.popen.send_signal(signal.SIGCONT)
    agent.process.hears("PAUSE")
    first.start()
    agent.process.hears("RESUME")
    assert not turned_away(two)


def turned_away(two: Pair) -> bool:
    """Whether a client is told that logins at the server fail."""
    try:
        with two.client() as client:
            client.execute("SELECT 1")
    except psycopg.OperationalError as error:
        return "server login has been failing" in str(error)
    return False


def test_a_pause_that_a_person_has_typed_is_left_alone_and_told(two: Pair) -> None:
    two.start_instances(50001)
    agent = two.start_agent()
    agent.until_ready()
    two.console("PAUSE app")
    agent.until("paused_by_hand", {"50001": ["app"]})
    assert agent.until_ready(ready=False)["instances"]["50001"]["reason"] == "paused by hand: app"
    first = two.databases[0]
    first.crash()
    agent.process.hears("PAUSE")
    first.start()
    agent.process.hears("RESUME")
    assert paused(two) == {"app"}
    two.console("RESUME app")
    agent.until_ready()


def test_only_databases_that_follow_the_leader_wait_for_one(two: Pair) -> None:
    two.start_instances(50001, entries=MIXED)
    agent = two.start_agent(targets=TARGETS)
    agent.until_ready()
    agent.until_ready("/ready/replica")
    first, second = two.databases
    with two.client(dbname="fixed") as fixed, two.client(dbname="reading") as reading:
        assert reading.execute(WHERE).fetchone() == (ADDRESSES[1], True)
        first.crash()
        agent.process.hears("PAUSE")
        assert paused(two) == {"app", "pgbouncer_agent"}
        assert fixed.execute(WHERE).fetchone() == (ADDRESSES[1], True)
        assert reading.execute(WHERE).fetchone() == (ADDRESSES[1], True)
        assert agent.ask("/ready")[0] == 503
        second.promote()
        two.patroni.leader, two.patroni.replicas = second.server, {}
        agent.process.hears("RESUME")
        assert paused(two) == set()
    # No replica is left: the leader serves them.
    until(lambda: two.hosts()["reading"]["host"] == ADDRESSES[1])
    assert two.hosts()["fixed"]["host"] == ADDRESSES[1]


def test_a_pause_right_after_an_ordered_one_leaves_nothing_paused(two: Pair) -> None:
    """What an instance said before it was told to go on is not taken for somebody else's pause."""
    two.start_instances(50001, entries=MIXED)
    agent = two.start_agent(targets=TARGETS)
    agent.until_ready()
    first = two.databases[0]
    connection = agent.connect(leaf=True)
    for path, body in (("/hold", {"seconds": 60}), ("/pause", {})):
        assert tell(connection, path, body=body)[0] == 200
    assert paused(two) == {"app", "pgbouncer_agent"}
    # Long enough for the agent to have looked at its own pause.
    age = agent.status()["patroni"]["http://127.0.0.10:8008"]["age"]
    until(lambda: bool(agent.status()["patroni"]["http://127.0.0.10:8008"]["age"] < age))
    for path in ("/resume", "/release"):
        assert tell(connection, path)[0] == 200
    agent.until_writable("127.0.0.11:5432")
    first.crash()
    agent.process.hears("PAUSE")
    first.start()
    agent.process.hears("RESUME")
    assert paused(two) == set()
    agent.until("paused_by_hand", {})


def test_a_replica_that_dies_is_replaced_by_the_leader_and_comes_back(two: Pair) -> None:
    two.start_instances(50001, entries=MIXED)
    agent = two.start_agent(targets=TARGETS)
    second = two.databases[1]
    agent.until_ready("/ready/replica")
    agent.process.hears("127.0.0.12 port 5432")
    assert two.hosts()["reading"] == {
        "dbname": "postgres",
        "host": ADDRESSES[1],
        "port": "5432",
        "load_balance_hosts": "round-robin",
    }
    second.crash()
    agent.process.hears("hosts file: points at 127.0.0.11 port 5432")
    with two.client(dbname="reading") as reading:
        assert reading.execute(WHERE).fetchone() == (ADDRESSES[0], False)
        assert agent.until_ready("/ready/replica", ready=False)["reason"]
        assert agent.until_ready()["ready"]
        second.start()
        agent.process.hears("and 127.0.0.12 port 5432")
        assert reading.execute(WHERE).fetchone() == (ADDRESSES[1], True)


@pytest.mark.parametrize(
    "more", [{"lag": 10**9}, {"lag": "unknown"}, {"tags": {"noloadbalance": True}}, {"state": "starting"}]
)
def test_a_replica_that_is_not_fit_does_not_serve(two: Pair, more: dict[str, object]) -> None:
    two.patroni.replicas = {two.databases[1].server: more}
    two.start_instances(50001, entries=MIXED)
    agent = two.start_agent(targets=TARGETS)
    agent.until_ready()
    assert {two.hosts()[name]["host"] for name in TARGETS} == {ADDRESSES[0]}
    two.patroni.replicas = {two.databases[1].server: {}}
    agent.process.hears("hosts file")
    assert two.hosts()["reading"]["host"] == ADDRESSES[1]


def test_without_fallback_replicas_that_are_gone_are_waited_for(two: Pair) -> None:
    two.start_instances(50001, entries=MIXED)
    agent = two.start_agent(targets=TARGETS, replica_fallback=False)
    agent.until_ready("/ready/replica")
    two.databases[1].crash()
    agent.until("replicas", [])
    agent.until_ready("/ready/replica", ready=False)
    assert two.hosts()["reading"]["host"] == ADDRESSES[1]


def test_a_drained_host_says_so(two: Pair) -> None:
    two.start_instances(50001)
    agent = two.start_agent()
    agent.until_ready()
    two.record("draining").touch()
    assert agent.ask("/ready")[1]["reason"] == "draining: the host is being taken out"
    assert agent.status()["draining"] is True
    two.record("draining").unlink()
    agent.until_ready()


def test_an_agent_without_targets_points_nothing_and_tells_how_its_pool_is(two: Pair) -> None:
    two.start_instances(50001)
    before = two.hosts()
    agent = two.start_agent(targets={})
    assert agent.until_ready()["leader"] is None
    two.write_hosts({name: {**entry, "host": ADDRESSES[1]} for name, entry in before.items()})
    two.console("RELOAD")
    assert "takes no writes" in agent.until_ready(ready=False)["instances"]["50001"]["reason"]
    assert agent.process.silent_on("hosts file")
