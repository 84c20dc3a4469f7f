"""Whether something happens to the pool, told from what its clients feel and from whom Patroni names as the leader."""

from __future__ import annotations

from dataclasses import dataclass, field

from .book import Book, Stream

SILENCE = 1.0
"""Seconds without a success of anybody that are a sign."""


@dataclass
class Signs:
    """Looked at several times a second. `first` is what was noticed first, `last` when something was noticed last.

    Times are the book's.
    """

    first: str = ""
    last: float = 0.0
    _errors: int = 0
    _servers: frozenset[str] = frozenset()
    _leader: str = ""
    leaders: list[tuple[float, str]] = field(default_factory=list)

    def look(self, book: Book, leader: str) -> None:
        """`leader` is empty where it is not known."""
        for sign in self._new(book, leader):
            self.first = self.first or sign
            self.last = book.now()

    def _new(self, book: Book, leader: str) -> list[str]:
        found = []
        errors = sum(book.hits.values())
        if errors > self._errors:
            found.append("a client had an error")
        if book.silence(Stream.TRANSACTIONS) > SILENCE:
            found.append("clients wait")
        servers = frozenset(book.served)
        if self._servers and servers > self._servers:
            found.append("another server answers")
        if leader and leader != self._leader:
            if self._leader:
                found.append(f"Patroni names {leader} as the leader")
                self.leaders.append((book.now(), leader))
            self._leader = leader
        self._errors, self._servers = errors, servers or self._servers
        return found
