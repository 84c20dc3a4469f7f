"""Bookkeeping of the load: what is counted, and the longest time without a success."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from pooler.drill.book import EXAMPLES, Book, Served, Stream
from pooler.drill.failures import Kind
from pooler.drill.ledger import Verdict
from pooler.drill.report import Report

NOBODY = Verdict(0, 0, 0, 0, 0)


class Clock:
    def __init__(self) -> None:
        self.time = 1000.0

    def __call__(self) -> float:
        return self.time


def book_of(clock: Clock, *clients: int) -> Book:
    book = Book(clock)
    for client in clients:
        book.join(Stream.LOGINS, client)
    return book


@given(st.lists(st.tuples(st.integers(1, 3), st.floats(0, 10)), max_size=30), st.floats(0, 10))
def test_stall_is_the_longest_time_in_which_nobody_had_a_success(turns: list[tuple[int, float]], rest: float) -> None:
    clock = Clock()
    book = book_of(clock, 1, 2, 3)
    moments = {client: [clock.time] for client in (1, 2, 3)}
    for client, later in turns:
        clock.time += later
        book.success(Stream.LOGINS, client, 0.0)
        moments[client].append(clock.time)
    clock.time += rest
    book.end()
    tally = book.tallies[Stream.LOGINS]
    assert tally.stall == longest([*itertools.chain(*moments.values()), clock.time])
    assert tally.alone == max(longest([*own, clock.time]) for own in moments.values())
    assert tally.succeeded == len(turns)


def test_silence_at_the_end_of_a_run_is_a_stall() -> None:
    clock = Clock()
    book = book_of(clock, 1)
    book.success(Stream.LOGINS, 1, 0.0)
    clock.time += 7
    assert book.end() == 7
    assert book.tallies[Stream.LOGINS].stall == 7


def test_a_client_that_has_not_joined_ends_nobodys_silence() -> None:
    clock = Clock()
    book = book_of(clock, 1)
    clock.time += 3
    book.success(Stream.LOGINS, -1, 0.0)
    clock.time += 3
    book.end()
    assert book.tallies[Stream.LOGINS].stall == 6
    assert book.tallies[Stream.LOGINS].succeeded == 1


def test_all_failures_are_counted_and_the_first_few_keep_their_words() -> None:
    clock = Clock()
    book = Book(clock)
    for number in range(EXAMPLES + 3):
        clock.time += 1
        book.failure(Stream.KNOCKS, Kind.REFUSED, f"number {number}")
    failures = book.tallies[Stream.KNOCKS].failures[Kind.REFUSED]
    assert failures.count == EXAMPLES + 3
    assert [(example.at, example.message) for example in failures.examples] == [
        (number + 1, f"number {number}") for number in range(EXAMPLES)
    ]
    assert book.tallies[Stream.KNOCKS].failed == EXAMPLES + 3
    assert book.tallies[Stream.LOGINS].failed == 0


def test_a_report_says_the_same_after_it_was_printed_and_read() -> None:
    clock = Clock()
    book = book_of(clock, 1)
    clock.time += 1
    book.success(Stream.LOGINS, 1, 0.5)
    book.failure(Stream.TRANSACTIONS, Kind.SHUTTING_DOWN, "server shutting down", 2)
    book.served_by("10.0.0.1")
    book.connection_closed("while it was idle", 1, spoke=False)
    book.mark("restart")
    report = Report.of(book, 1795230106.5, book.end(), NOBODY)
    assert Report.from_json(report.to_json()) == report


def longest(moments: list[float]) -> float:
    ordered = sorted(moments)
    return max(later - earlier for earlier, later in itertools.pairwise(ordered))


def test_errors_are_what_workers_saw_and_each_worker_is_hit_once() -> None:
    clock = Clock()
    book = book_of(clock, 1)
    book.failure(Stream.TRANSACTIONS, Kind.OTHER, "read-only", 1)
    clock.time += 1
    book.failure(Stream.LOGINS, Kind.REFUSED, "refused", 1)
    clock.time += 1
    book.connection_closed("while it was idle", 2, spoke=False)
    clock.time += 1
    book.failure(Stream.KNOCKS, Kind.REFUSED, "refused")
    report = Report.of(book, began=0.0, seconds=book.end(), verdict=NOBODY)
    assert (report.errors, report.hits, report.last_error) == (3, {1: 2, 2: 1}, 2.0)


def test_each_server_is_known_by_the_first_and_the_last_transaction_it_served() -> None:
    clock = Clock()
    book = book_of(clock, 1)
    for server, later in (("old", 1), ("old", 2), ("new", 3)):
        clock.time += later
        book.served_by(server)
    assert book.served == {"old": Served(2, 1.0, 3.0), "new": Served(1, 6.0, 6.0)}
