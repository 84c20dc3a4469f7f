"""An event is noticed by what clients feel, or by Patroni's words."""

from __future__ import annotations

import pytest

from pooler.drill.book import Book, Stream
from pooler.drill.failures import Kind
from pooler.drill.signs import SILENCE, Signs


class Clock:
    time = 0.0

    def __call__(self) -> float:
        return self.time


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def book(clock: Clock) -> Book:
    book = Book(clock)
    book.join(Stream.TRANSACTIONS, 1)
    return book


def test_a_calm_pool_gives_no_sign(book: Book, clock: Clock) -> None:
    signs = Signs()
    for _ in range(20):
        clock.time += SILENCE / 2
        book.success(Stream.TRANSACTIONS, 1, 0.01)
        book.served_by("10.0.0.1")
        signs.look(book, "db1")
    assert (signs.first, signs.leaders) == ("", [])


def test_silence_an_error_another_server_and_another_leader_are_signs(book: Book, clock: Clock) -> None:
    signs = Signs()
    book.served_by("10.0.0.1")
    signs.look(book, "db1")
    clock.time += 1.5 * SILENCE
    signs.look(book, "db1")
    assert (signs.first, signs.last) == ("clients wait", clock.time)
    book.success(Stream.TRANSACTIONS, 1, 1.5)
    for at, server, leader in ((5.0, "10.0.0.2", "db1"), (6.0, "10.0.0.2", "db2")):
        clock.time = at
        book.success(Stream.TRANSACTIONS, 1, 0.01)
        book.served_by(server)
        signs.look(book, leader)
        assert signs.last == at
    book.failure(Stream.TRANSACTIONS, Kind.OTHER, "read-only", 1)
    clock.time += SILENCE / 2
    signs.look(book, "db2")
    assert signs.last == clock.time
    assert signs.leaders == [(6.0, "db2")]


def test_what_was_noticed_is_over_when_nothing_new_is_seen(book: Book, clock: Clock) -> None:
    signs = Signs()
    book.failure(Stream.TRANSACTIONS, Kind.OTHER, "read-only", 1)
    signs.look(book, "")
    clock.time += SILENCE / 2
    signs.look(book, "")
    assert (signs.first, signs.last) == ("a client had an error", 0.0)
