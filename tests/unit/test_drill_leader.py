"""The floor of an event is read from when each database server began and ceased to take writes."""

from __future__ import annotations

import pytest

from pooler.drill.book import Book, Stream
from pooler.drill.failures import Kind
from pooler.drill.ledger import Verdict
from pooler.drill.report import Report
from tests.drills.leader.goals import figures
from tests.drills.leader.outcome import Outcome, table
from tests.drills.leader.peers import hosts_file
from tests.drills.leader.rows import ROWS
from tests.drills.leader.watch import Change, longest_without, together, writable_since

FAILOVER = [
    Change(1.0, "db1", "writable"),
    Change(1.0, "db2", "read-only"),
    Change(10.0, "db1", "down"),
    Change(13.0, "db2", "writable"),
    Change(20.0, "db1", "read-only"),
]
CUT_OFF = "leader cut off from etcd"
BY_NAME = {row.name: row for row in ROWS}


def test_the_new_leader_is_the_first_that_begins_to_take_writes() -> None:
    new = writable_since(FAILOVER, 9.0)
    assert new == Change(13.0, "db2", "writable")
    assert writable_since(FAILOVER, 14.0) is None


def test_the_longest_time_without_a_leader_is_found() -> None:
    assert longest_without(FAILOVER, 5.0, 30.0) == 3.0
    assert longest_without(FAILOVER, 12.0, 30.0) == 1.0
    assert longest_without(FAILOVER[:3], 5.0, 30.0) == 20.0
    assert longest_without(FAILOVER, 14.0, 30.0) == 0.0


def test_two_servers_that_take_writes_at_a_time_are_seen() -> None:
    assert together(FAILOVER, 5.0, 30.0) == 0.0
    split = [*FAILOVER[:2], Change(4.0, "db2", "writable"), Change(6.5, "db1", "read-only")]
    assert together(split, 0.0, 30.0) == 2.5
    assert together(split[:-1], 0.0, 30.0) == 26.0


def test_what_a_run_came_to_is_read_from_its_report() -> None:
    found = outcome(stall=2.5, floor=2.0, errors=(1.0, 4.0))
    assert (found.failed, found.beyond, found.healed) == (2, 0.5, 3.0)


@pytest.mark.parametrize(
    ("stall", "lost", "errors", "missed"),
    [
        (2.4, 0, (), set()),
        (2.6, 0, (), {"leader killed: longest stall over its floor"}),
        (2.4, 1, (), {"leader killed: lost"}),
        (2.4, 0, (2.0, 2.1), {"leader killed: most errors of one worker"}),
    ],
    ids=["well", "too slow", "lost", "too many errors"],
)
def test_a_goal_that_is_missed_is_told(stall: float, lost: int, errors: tuple[float, ...], missed: set[str]) -> None:
    found = figures(BY_NAME["leader killed"], [outcome(stall, 2.0, errors, lost)])
    assert {figure.what for figure in found if not figure.reached} == missed


@pytest.mark.parametrize(("late", "missed"), [(-20.0, 0), (None, 0), (0.5, 1)])
def test_a_write_that_the_old_leader_took_beside_the_new_one_is_told(late: float | None, missed: int) -> None:
    found = figures(BY_NAME[CUT_OFF], [outcome(2.0, 2.0, late=late, event=CUT_OFF)])
    assert sum(not figure.reached for figure in found) == missed


def test_on_a_busy_machine_only_counts_that_do_not_depend_on_it_have_goals() -> None:
    slow = outcome(60.0, 2.0, lost=1)
    for timed, missed in ((True, {"lost", "longest stall over its floor"}), (False, {"lost"})):
        found = figures(BY_NAME["leader killed"], [slow], timed=timed)
        assert {figure.what.partition(": ")[2] for figure in found if not figure.reached} == missed


def test_other_designs_have_no_goals() -> None:
    assert figures(BY_NAME["leader killed"], [outcome(60.0, 2.0, (2.0, 3.0), 5, design="poller")]) == []


def test_the_table_has_a_row_for_each_event_and_design() -> None:
    rows = table([outcome(2.0, 1.0), outcome(4.0, 3.0), outcome(9.0, 1.0, design="poller")]).splitlines()
    assert len(rows) == 3
    assert rows[1].split()[:5] == ["leader", "killed", "ours", "2", "0"]
    assert "3.00 (2.00-4.00)" in rows[1]


def test_reads_and_writes_have_databases_of_their_own() -> None:
    assert hosts_file("app", "10.0.0.1", 5432, "10.0.0.2", 5433).splitlines() == [
        "app = host=10.0.0.1 port=5432 dbname=app",
        "app_ro = host=10.0.0.2 port=5433 dbname=app",
    ]


def outcome(
    stall: float,
    floor: float,
    errors: tuple[float, ...] = (),
    lost: int = 0,
    design: str = "ours",
    late: float | None = None,
    event: str = "leader killed",
) -> Outcome:
    """The event is 1 s after the beginning; all errors are those of one worker."""
    time = [0.0]
    book = Book(lambda: time[0])
    for at in errors:
        time[0] = at
        book.failure(Stream.TRANSACTIONS, Kind.OTHER, "read-only", 1)
    book.tallies[Stream.TRANSACTIONS].stall = stall
    report = Report.of(book, 0.0, 30.0, Verdict(100, lost, 0, 0, 0))
    return Outcome(event, design, report, at=1.0, floor=floor, late=late, extra={}, wrong=[])
