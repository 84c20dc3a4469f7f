"""A drain from inside an instance's container: who is let finish, who is closed, and that the engine ends."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from pooler import drain
from tests.engine.miniature import UID
from tests.engine.sized import CONSOLE, ROLE, Sized, sized

Session = psycopg.Connection[tuple[object, ...]]


@pytest.fixture(scope="module")
def fleet() -> Iterator[Sized]:
    with sized(30) as made:
        yield made


@pytest.fixture
def place(fleet: Sized) -> Path:
    """The socket's directory of an instance that has no client; the console of the harness would count as one."""
    fleet.serves({"default_pool_size": 5}, instances=1)
    fleet.host.instances[CONSOLE].console.close()
    return fleet.pools[CONSOLE]


def client(place: Path) -> Session:
    return psycopg.connect(host=str(place), port=6432, user=ROLE, dbname="app", autocommit=True)


def drained(place: Path, clients: float, transactions: float) -> list[str]:
    """What it says; the consoles are for the engine's own user."""
    said: list[str] = []
    mark = place / "draining"
    os.seteuid(UID)
    try:
        asyncio.run(drain.drain(f"{place}/.s.PGSQL.6432", 0, clients, transactions, said.append, str(mark)))
    finally:
        os.seteuid(0)
    assert mark.exists()
    return said


def ended(fleet: Sized) -> bool:
    return fleet.host.instances[CONSOLE].process.wait(timeout=30) == 0


def is_closed(session: Session) -> bool:
    try:
        session.execute("SELECT 1")
    except psycopg.OperationalError:
        return True
    return False


def test_an_instance_without_clients_ends_at_once(fleet: Sized, place: Path) -> None:
    began = time.monotonic()
    assert drained(place, 60, 60) == []
    assert ended(fleet)
    assert time.monotonic() - began < 60


def test_clients_that_leave_by_themselves_are_waited_for(fleet: Sized, place: Path) -> None:
    session = client(place)
    leaving = threading.Timer(0.5, session.close)
    leaving.start()
    assert drained(place, 60, 60) == []
    leaving.join()
    assert ended(fleet)


def test_a_transaction_is_let_finish_and_an_idle_client_is_closed(fleet: Sized, place: Path) -> None:
    idle, busy = client(place), client(place)
    idle.execute("SELECT 1")
    outcome: list[object] = []
    begun = threading.Event()

    def work() -> None:
        with busy.transaction():
            busy.execute("SELECT 1")
            begun.set()
            outcome.append(busy.execute("SELECT pg_sleep(2)").fetchall())

    worker = threading.Thread(target=work)
    worker.start()
    assert begun.wait(30)
    assert drained(place, 0.2, 60) == ["closed 2 between transactions"]
    worker.join()
    assert len(outcome) == 1
    assert is_closed(idle)
    assert ended(fleet)


def test_what_runs_too_long_is_cut_and_said(fleet: Sized, place: Path) -> None:
    busy = client(place)
    cut: list[bool] = []
    begun = threading.Event()

    def work() -> None:
        busy.execute("BEGIN")
        begun.set()
        try:
            busy.execute("SELECT pg_sleep(60)")
        except psycopg.OperationalError:
            cut.append(True)

    worker = threading.Thread(target=work)
    worker.start()
    assert begun.wait(30)
    assert drained(place, 0.2, 0.5) == ["closed 1 between transactions", "cut 1 in transactions"]
    worker.join()
    assert cut == [True]
    assert ended(fleet)
