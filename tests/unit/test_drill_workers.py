"""Clients that keep their connection: a transaction that failed is told from a connection closed between two."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable

import asyncpg
import pytest

from pooler.drill import workers
from pooler.drill.book import Book, Stream
from pooler.drill.failures import Kind
from pooler.drill.run import Run
from pooler.drill.settings import Settings

SHUTDOWN = asyncpg.ProtocolViolationError("server shutting down")
DEADLOCK = asyncpg.DeadlockDetectedError("deadlock detected")


class Line:
    """A connection that answers some statements, and then raises; with no error to raise it answers no more."""

    def __init__(self, answers: int, error: Exception | None) -> None:
        self.answers, self.error, self.closed = answers, error, False
        self.listeners: list[Callable[[object], None]] = []

    def add_termination_listener(self, listener: Callable[[object], None]) -> None:
        self.listeners.append(listener)

    def end(self) -> None:
        self.closed = True
        for listener in self.listeners:
            listener(self)

    def is_closed(self) -> bool:
        return self.closed

    def get_server_pid(self) -> int:
        return 0x05020063

    def terminate(self) -> None:
        self.closed = True

    async def close(self, timeout: float) -> None:
        self.closed = True

    async def fetchval(self, statement: str, *values: int) -> str:
        await self.execute(statement, *values)
        return "10.0.0.1"

    async def execute(self, _statement: str, *_values: int) -> None:
        self.answers -= 1
        if self.answers < 0:
            if self.error:
                if self.error is SHUTDOWN:  # the driver tells of the lost connection first
                    self.end()
                raise self.error
            await asyncio.Event().wait()


@pytest.mark.parametrize("answered", range(1, 5))
def test_a_connection_lost_within_a_transaction_is_a_failed_transaction(
    answered: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    book = one_turn(Line(answered, SHUTDOWN), monkeypatch)
    assert book.tallies[Stream.TRANSACTIONS].failures[Kind.SHUTTING_DOWN].count == 1
    assert book.closed == []


def test_a_connection_lost_at_the_first_statement_is_closed_between_transactions(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    book = one_turn(Line(0, SHUTDOWN), monkeypatch)
    assert [(each.spoke, each.message) for each in book.closed] == [
        (True, "ProtocolViolationError: server shutting down")
    ]
    assert book.tallies[Stream.TRANSACTIONS].failed == 0


def test_an_error_of_the_database_is_a_failed_transaction_from_the_first_statement_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    book = one_turn(Line(0, DEADLOCK), monkeypatch)
    assert book.tallies[Stream.TRANSACTIONS].failures[Kind.OTHER].count == 1
    assert book.closed == []


def test_a_statement_without_an_answer_is_a_hung_transaction(monkeypatch: pytest.MonkeyPatch) -> None:
    book = one_turn(Line(0, None), monkeypatch)
    assert book.tallies[Stream.TRANSACTIONS].failures[Kind.HUNG].count == 1
    assert book.closed == []


def test_a_connection_closed_while_idle_is_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    line = Line(5, SHUTDOWN)
    book = one_turn(line, monkeypatch, pause_then=line.end)
    assert [each.spoke for each in book.closed] == [False]
    assert book.tallies[Stream.TRANSACTIONS].succeeded == 1


@pytest.mark.parametrize(("answered", "ambiguous"), [(3, 0), (4, 1), (5, 0)])
def test_only_a_commit_without_an_answer_is_ambiguous(
    answered: int, ambiguous: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = run_of("write")
    book = one_turn(Line(answered, SHUTDOWN), monkeypatch, run=run)
    assert run.ledger.compare([], {}).ambiguous == ambiguous
    assert len(book.served) == (answered == 5)


def test_reading_writes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    run = run_of("read")
    book = one_turn(Line(1, None), monkeypatch, run=run)
    assert book.tallies[Stream.TRANSACTIONS].succeeded == 1
    assert run.ledger.compare([], {}).acknowledged == 0


def one_turn(
    line: Line,
    monkeypatch: pytest.MonkeyPatch,
    pause_then: Callable[[], object] = lambda: None,
    run: Run | None = None,
) -> Book:
    """The books after one transaction on this connection, of five statements if it writes; then comes `pause_then`."""

    async def connect(_settings: Settings, _client: int) -> Line:
        return line

    async def rest(run: Run, _seconds: float) -> None:
        pause_then()

    monkeypatch.setattr(workers, "connect", connect)
    monkeypatch.setattr(Run, "rest", rest)
    run = run or run_of("mixed")
    asyncio.run(workers.work(run, 1))
    return run.book


def run_of(work: str) -> Run:
    """One turn, in which a statement that is not answered within 0.2 s hangs."""
    password = secrets.token_urlsafe(12)
    return Run(Settings("pool1", "app", "app", password, ca="", work=work, hung_after=0.2, most_turns=1))
