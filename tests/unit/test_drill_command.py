"""`pooler drill`: what it is given, what it refuses, and what it says in the end."""

from __future__ import annotations

import asyncio
import io
import json
import secrets
import sys
from pathlib import Path

import pytest

from pooler import cli
from pooler.drill.book import Book, Stream
from pooler.drill.command import HUNG_AFTER
from pooler.drill.exercise import Exercise
from pooler.drill.failures import Kind
from pooler.drill.found import Found
from pooler.drill.happenings import HAPPENINGS
from pooler.drill.ledger import Verdict
from pooler.drill.report import Report
from pooler.drill.settings import Settings
from pooler.errors import PoolerError

TARGET = "host=pool1 dbname=app user=app"


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Exercise]:
    """The exercises that were begun; each of them finds that all is well."""
    begun: list[Exercise] = []

    async def exercise(self: Exercise) -> Found:
        begun.append(self)
        return found()

    monkeypatch.setattr(Exercise, "exercise", exercise)
    monkeypatch.delenv("PGPASSWORD", raising=False)
    return begun


def test_the_password_is_the_first_line_of_a_file_or_from_the_environment(
    asked: list[Exercise], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = secrets.token_urlsafe(12), secrets.token_urlsafe(12)
    (tmp_path / "password").write_text(f"{first}\nsecond line\n")
    assert cli.main(["drill", "crash", TARGET, "--password-file", str(tmp_path / "password")]) == 0
    monkeypatch.setenv("PGPASSWORD", second)
    assert cli.main(["drill", "crash", TARGET]) == 0
    assert [each.settings.password for each in asked] == [first, second]
    assert {each.settings.hung_after for each in asked} == {HUNG_AFTER}


def test_without_a_password_it_says_where_it_may_be(
    asked: list[Exercise], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    assert cli.main(["drill", "crash", TARGET]) == 1
    assert "--password-file" in capsys.readouterr().err
    assert asked == []


def test_without_asyncpg_it_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "asyncpg", None)
    for name in [name for name in sys.modules if name.startswith("pooler.drill.")]:
        monkeypatch.delitem(sys.modules, name)
    assert cli.main(["drill", "crash", TARGET]) == 1
    assert "pip install asyncpg" in capsys.readouterr().err


def test_a_command_makes_it_happen_and_how_it_ended_is_told(
    asked: list[Exercise], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGPASSWORD", secrets.token_urlsafe(12))
    for command in ("exit 3", "true"):
        cli.main(["drill", "restart", TARGET, "--run", command])

    async def told(exercise: Exercise) -> list[str]:
        assert exercise.cause
        return await exercise.cause()

    assert [asyncio.run(told(each)) for each in asked] == [["'exit 3' ended with 3"], []]


def test_a_person_is_asked_where_nothing_makes_it_happen(
    asked: list[Exercise], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGPASSWORD", secrets.token_urlsafe(12))
    patroni = ["--patroni", "http://db1:8008"]
    cli.main(["drill", "failover", TARGET, *patroni])
    cli.main(["drill", "switchover", TARGET])
    cli.main(["drill", "switchover", TARGET, *patroni])
    assert [each.cause is None for each in asked] == [True, True, False]
    assert {each.happening for each in asked} == {HAPPENINGS["failover"], HAPPENINGS["switchover"]}


def test_a_pool_that_cannot_be_reached_is_named() -> None:
    settings = Settings("127.0.0.1", "app", "app", secrets.token_urlsafe(12), "", port=1, warm_up=0.3, hung_after=0.1)
    exercise = Exercise("crash", HAPPENINGS["crash"], settings, None, lambda: "", print, print)
    with pytest.raises(PoolerError, match=r"127\.0\.0\.1:1"):
        asyncio.run(exercise.exercise())


@pytest.mark.parametrize(
    ("lost", "doubled", "back", "well"),
    [(0, 0, True, True), (1, 0, True, False), (0, 1, True, False), (0, 0, False, False)],
)
def test_all_is_well_when_nothing_is_lost_and_everybody_is_back(
    lost: int, doubled: int, back: bool, well: bool
) -> None:
    assert found(lost, doubled, back).well is well


def test_hung_transactions_are_told_from_failed_ones() -> None:
    report = found()
    assert (report.failed, report.hung) == (3, 1)
    said = json.loads(report.to_json())
    assert (said["failed"], said["hung"], said["hit"], said["lost"]) == (3, 1, 2, 0)
    assert "3 of 4 transactions failed, 1 of them hung; 2 of 20 clients" in report.text()


def found(lost: int = 0, doubled: int = 0, back: bool = True) -> Found:
    book = Book(lambda: 0.0)
    book.success(Stream.TRANSACTIONS, 1, 0.01)
    book.failure(Stream.TRANSACTIONS, Kind.HUNG, "TimeoutError", 1)
    book.failure(Stream.TRANSACTIONS, Kind.OTHER, "read-only", 1)
    book.connection_closed("while it was idle", 2, spoke=False)
    report = Report.of(book, 0.0, 30.0, Verdict(100, lost, doubled, 0, 0))
    return Found("crash", 20, report, "a client had an error", back)
