"""A drill's percentiles, balance, limits and its page."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from xml.etree import ElementTree

import pytest

from pooler import cli
from pooler.drill import html, live
from pooler.drill.book import Book, Mark, Stream
from pooler.drill.connect import instance
from pooler.drill.exercise import Exercise
from pooler.drill.failures import Kind
from pooler.drill.found import Found
from pooler.drill.happenings import LOAD
from pooler.drill.ledger import Verdict
from pooler.drill.limits import Limits, apart
from pooler.drill.report import Report
from pooler.drill.run import Run
from pooler.drill.settings import Settings
from pooler.drill.timeline import Timeline, shares

SETTINGS = Settings("pool1,pool2", "app", "app", "", "")


def timeline() -> Timeline:
    """A hundred transactions of 1 to 100 ms in two seconds, a quarter of them by the second instance."""
    made = Timeline()
    for number in range(100):
        made.success(
            number / 50, Stream.TRANSACTIONS, (number + 1) / 1000, "pool1 #2" if number % 4 == 0 else "pool1 #1"
        )
    made.failure(3.5)
    return made


def found(*, failed: int = 0, missed: tuple[str, ...] = (), words: str = "gone") -> Found:
    clock: Iterator[int] = count()
    book = Book(lambda: float(next(clock)))
    book.success(Stream.TRANSACTIONS, 1, 0.01)
    for _number in range(failed):
        book.failure(Stream.TRANSACTIONS, Kind.OTHER, words, 1)
    report = Report.of(book, 0.0, 4.0, Verdict(100, 0, 0, 0, 0))
    report.marks.append(Mark(1.0, "<begin>"))
    return Found(LOAD, 20, report, "", True, timeline=timeline(), missed=missed)


def test_percentiles_are_those_of_a_histogram() -> None:
    said = found().percentiles(Stream.TRANSACTIONS)
    assert set(said) == {"p50", "p90", "p99", "p99.9", "p100"}
    assert said["p50"] == pytest.approx(50, rel=0.01)
    assert said["p99"] == pytest.approx(99, rel=0.01)
    assert said["p100"] == pytest.approx(100, rel=0.01)
    assert found().percentiles(Stream.LOGINS) == {}


def test_every_second_counts_also_those_in_which_nothing_was_done() -> None:
    seconds = timeline().seconds
    assert [(each.done.total(), each.failed) for each in seconds] == [(50, 0), (50, 0), (0, 0), (0, 1)]
    assert seconds[1].slowest == pytest.approx(0.1)


def test_the_balance_is_by_instance() -> None:
    assert shares(timeline().balance()) == [("pool1 #1", 0.75), ("pool1 #2", 0.25)]
    assert apart(timeline()) == pytest.approx(0.5)
    assert apart(Timeline()) == 0


class Connection:
    def __init__(self, key: int) -> None:
        self._key = key

    def get_server_pid(self) -> int:
        return self._key


@pytest.mark.parametrize(
    ("key", "client", "name"),
    [
        (0x3401008C, 0, "pool1 #1"),
        (0x6802007D, 1, "pool2 #2"),
        (0x6800007D, 1, "pool2"),  # no peers
        (0x00001F2A, 0, "pool1"),  # a process of PostgreSQL
        (0x12AB34CD, 0, "pool1"),  # a pooler without peers: all of it is random
    ],
)
def test_the_instance_is_read_from_the_key_for_cancels(key: int, client: int, name: str) -> None:
    assert instance(SETTINGS, client, Connection(key)) == name


@pytest.mark.parametrize(
    ("limits", "missed"),
    [
        (Limits(), []),
        (Limits(failed=2, stall=60, p99=0.2, apart=0.6), []),
        (Limits(failed=1), ["2 failed, and 1 may"]),
        (Limits(stall=0.5), ["the longest stall was 1.00 s, and 0.5 s are allowed"]),
        (Limits(p99=0.05), ["one of 100 transactions took 99.0 ms or more, and 50 ms are allowed"]),
        (Limits(apart=0.1), ["an instance's share is 50% off an even one, and 10% are allowed"]),
    ],
)
def test_a_limit_that_is_missed_is_told(limits: Limits, missed: list[str]) -> None:
    report = found(failed=2).report
    report.tallies[Stream.TRANSACTIONS].stall = 1.0
    assert list(limits.missed(report, timeline())) == missed


def test_a_missed_limit_is_no_success() -> None:
    assert found().well
    assert not found(missed=("too slow",)).well
    assert "MISSED: too slow" in found(missed=("too slow",)).text()


def test_the_page_needs_nothing_from_elsewhere_and_no_word_of_a_server_is_taken_for_html() -> None:
    page = html.render(found(failed=1, missed=("1 < 2",), words='<script>alert("x")</script>'))
    assert re.findall(r"(?:src|href|url)\s*[=(]|<script|@import|//", page) == []
    assert "&lt;script&gt;" in page
    assert "1 &lt; 2" in page
    plots = re.findall(r"<svg.*?</svg>", page, re.DOTALL)
    assert len(plots) == 4
    for plot in plots:
        ElementTree.fromstring(plot)
    assert "&lt;begin&gt;" in page


def test_the_page_of_a_drill_without_a_success_is_a_page() -> None:
    book = Book(lambda: 0.0)
    page = html.render(Found(LOAD, 1, Report.of(book, 0.0, 0.0, Verdict(0, 0, 0, 0, 0)), "", False))
    assert "failed</span>" in page


def test_before_all_are_warm_nothing_is_on_the_timeline() -> None:
    run = Run(SETTINGS, timeline=Timeline())
    assert run.timeline
    run.success(Stream.TRANSACTIONS, 1, 0.1, "pool1 #1")
    run.failure(Stream.TRANSACTIONS, Kind.OTHER, "no", 1)
    assert run.timeline.seconds == []


def test_the_board_shows_each_instance_and_stays_where_it_is() -> None:
    book, terminal = Book(lambda: 0.0), io.StringIO()
    lines = live.board(book, timeline(), 50.0)
    assert lines[2:] == [
        "         pool1 #1  " + "█" * 22 + " 75%",
        "         pool1 #2  " + "█" * 8 + " 25%",
    ]
    painter = live.Painter(terminal)
    painter.paint(lines)
    painter.paint(lines)
    painter.say("over")
    assert terminal.getvalue().count("\x1b[4F") == 2
    assert terminal.getvalue().endswith("\x1b[4F\x1b[Jover\n")


def test_the_load_alone_has_its_time_and_limits_from_the_command_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    begun: list[Exercise] = []

    async def exercise(self: Exercise) -> Found:
        begun.append(self)
        return found(missed=tuple(self.limits.missed(found(failed=1).report, timeline())))

    monkeypatch.setattr(Exercise, "exercise", exercise)
    monkeypatch.setenv("PGPASSWORD", "-")
    target = "host=pool1 dbname=app user=app"
    page = tmp_path / "report.html"
    assert cli.main(["drill", "load", target, "--report", str(page), "--logins", "3", "--turns", "5"]) == 0
    assert cli.main(["drill", "load", target, "--max-failed", "0", "--json"]) == 1
    first = begun[0].settings
    assert (first.work, first.logins, first.most_turns, first.worker_pause) == ("mixed", 3, 5, 0.02)
    assert begun[0].cause is not None
    assert "<svg" in page.read_text()
    assert '"missed": ["1 failed, and 0 may"]' in capsys.readouterr().out
