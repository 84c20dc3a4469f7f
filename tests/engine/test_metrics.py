"""The agent's metrics beside those of Debian's exporter, and while instances hang, talk nonsense or are dead."""

from __future__ import annotations

import contextlib
import secrets
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pooler.metrics import exporter as shared
from pooler.metrics.expiry import expiries
from tests.engine import exporter
from tests.engine.exporter import Series
from tests.engine.pair import ENTRIES, PORT, Pair, pair, until

OWN = ("pgbouncer", "pgbouncer_agent")
"""Databases that are used by those who ask."""


@pytest.fixture
def two() -> Iterator[Pair]:
    with pair() as made:
        made.start_databases()
        made.start_instances(50001, 50002, entries={**ENTRIES, "rep.1": {"dbname": "postgres", "pool_size": "3"}})
        yield made


def name(console: int) -> str:
    return f"{socket.gethostname()}:{console}"


def test_every_value_is_the_one_that_debians_exporter_tells(two: Pair) -> None:
    agent = two.start_agent()
    agent.until_ready()
    assert agent.ask("/metrics") == (403, {"error": "needs a client certificate of the same authority"})
    exporter.start(two, 50001)
    with two.client() as open_transaction, two.client(dbname="rep.1") as idle, two.client() as other:
        open_transaction.execute("BEGIN")
        open_transaction.execute("SELECT pg_sleep(0.1)")
        idle.execute("SELECT 1")
        other.execute("SELECT 2")
        two.console('PAUSE "rep.1"')
        before = exporter.theirs(two)
        ours = exporter.of_instance(exporter.ours(agent), name(50001))
        after = exporter.theirs(two)
    names = {each for each in before if each.startswith("pgbouncer_") and each != "pgbouncer_exporter_build_info"}
    assert names <= set(ours)
    assert {"pgbouncer_pools_client_active_connections", "pgbouncer_stats_client_wait_seconds_total"} <= names
    compared = 0
    for each in names:
        for labels, value in before[each].items():
            if dict(labels).get("database") in OWN or dict(labels).get("name") in OWN or _of_all(each):
                # Those who ask change it by asking.
                assert labels in ours[each], f"{each}{sorted(labels)}"
            else:
                assert after[each][labels] == value == ours[each][labels], f"{each}{sorted(labels)}"
                compared += 1
        assert set(before[each]) <= set(ours[each])
    assert compared > 50
    ours_are, theirs_are = exporter.types(agent.connect(leaf=True)), exporter.types(exporter.connect(two))
    assert {each: ours_are[each] for each in names} == {each: theirs_are[each] for each in names}


def _of_all(metric: str) -> bool:
    """Whether it counts clients and servers of all databases, those who ask among them."""
    return metric in {f"pgbouncer_{kind}_{who}" for kind in ("free", "used", "login") for who in ("clients", "servers")}


class Impostor:
    """Sits at the socket of an instance: lets everybody in and answers queries with `answer`, or not at all."""

    def __init__(self, path: Path, answer: Callable[[], bytes] | None) -> None:
        path.unlink(missing_ok=True)
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.bind(str(path))
        path.chmod(0o777)
        self._socket.listen()
        self._answer = answer
        self._held: list[socket.socket] = []
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._socket.accept()
                self._held.append(client)
                if self._answer is not None:
                    with contextlib.suppress(OSError):
                        client.recv(1 << 16)
                        client.sendall(b"R\0\0\0\x08\0\0\0\0Z\0\0\0\x05I" + self._answer())

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        for each in (*self._held, self._socket):
            each.close()


def _nonsense() -> bytes:
    return secrets.token_bytes(500)


def _hollow() -> bytes:
    """Tables without columns."""
    return b"T\0\0\0\x06\0\0D\0\0\0\x06\0\0C\0\0\0\x09SHOW\0Z\0\0\0\x05I" * 20


def test_of_instances_that_are_none_it_is_said_so_and_the_others_are_told(two: Pair) -> None:
    dead, hanging, raving, hollow = 50002, 50003, 50004, 50005
    for console in (hanging, raving, hollow):
        two.add_instance(console)
    agent = two.start_agent()
    agent.until_ready()
    for console in (dead, hanging, raving, hollow):
        two.instances[console].kill()
    with contextlib.ExitStack() as impostors:
        for console, answer in ((hanging, None), (raving, _nonsense), (hollow, _hollow)):
            impostor = Impostor(two.place / f"run/pgbouncer/{console}/.s.PGSQL.{PORT}", answer)
            impostors.callback(impostor.close)
        found = exporter.ours(agent)
    why: dict[int, set[str]] = {}
    for console in (dead, hanging, raving, hollow):
        assert value(found, "pgbouncer_up", console) == 0
        why[console] = {dict(labels)["why"] for labels in found["pgfleet_scrape_missing"] if _of(labels, console)}
    assert why[dead] == {"Connection refused"}
    assert why[hanging] == {"no answer within 2 s"}
    assert why[raving]
    assert all("column" in each for each in why[hollow])
    _is_whole(found, 50001)
    # The agent has come through it, and looks at the instance that is back.
    two.start_instance(raving)
    until(lambda: value(exporter.ours(agent), "pgbouncer_up", raving) == 1)
    assert agent.process.popen.poll() is None


def _is_whole(found: Series, console: int) -> None:
    assert value(found, "pgbouncer_up", console) == 1
    for family in (*shared.LISTS.values(), *shared.CONFIG.values(), shared.DATABASES.columns[0].family):
        assert any(_of(labels, console) for labels in found[family.name]), family.name


def _of(labels: frozenset[tuple[str, str]], console: int) -> bool:
    return ("instance", name(console)) in labels


def value(found: Series, metric: str, console: int) -> float:
    (number,) = (number for labels, number in found[metric].items() if _of(labels, console))
    return number


def test_what_happens_is_counted(two: Pair) -> None:
    first, second = two.databases
    agent = two.start_agent()
    agent.until_ready()
    agent.until_writable("127.0.0.11:5432")
    with two.client() as client:
        client.execute("SELECT 1")
        first.crash()
        two.patroni.leader = None
        agent.process.hears("PAUSE")
        two.patroni.leader, two.patroni.replicas = second.server, {}
        second.promote()
        agent.process.hears("RESUME")
    agent.until_ready()
    found = exporter.ours(agent)
    assert found["pgfleet_leader_info"] == {frozenset({("leader", "127.0.0.12:5432")}): 1}
    assert found["pgfleet_leader_changes_total"][frozenset({("cause", "following")})] == 1
    assert found["pgfleet_pauses_total"][frozenset({("reason", "loss")})] == 1
    assert found["pgfleet_paused_seconds_total"][frozenset({("reason", "loss")})] > 0
    assert found["pgfleet_leader_timeline"] == {frozenset(): 2}
    assert value(found, "pgfleet_reloads_total", 50001) >= 1
    assert value(found, "pgfleet_failed_reloads_total", 50001) == 0


def test_until_when_a_servers_certificate_is_valid_is_told_also_when_it_is_silent(two: Pair) -> None:
    agent = two.start_agent()
    agent.until_ready()
    leaf, _authority = expiries((two.place / "db1/leaf/tls.crt").read_text())
    told = frozenset({("server", "127.0.0.11:5432"), ("serial", leaf.serial)})

    def found() -> float | None:
        return exporter.ours(agent).get("pgfleet_server_certificate_expiry_timestamp_seconds", {}).get(told)

    until(lambda: found() == leaf.at)
    two.databases[0].crash()
    assert found() == leaf.at
