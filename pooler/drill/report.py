"""What a run found, as data: the load prints it as JSON, whoever started the load reads it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from .book import Book, Closed, Example, Failures, Mark, Served, Stream, Tally
from .failures import Kind
from .ledger import Verdict


@dataclass(frozen=True)
class Report:
    """`began` is in seconds since the epoch, every other time in seconds since then. `hits`: errors of each worker
    that saw one.

    `served`: by address of the database server, only where workers did `write` or `read`.
    """

    began: float
    seconds: float
    tallies: dict[Stream, Tally]
    closed: list[Closed]
    marks: list[Mark]
    verdict: Verdict
    hits: dict[int, int] = field(default_factory=dict)
    served: dict[str, Served] = field(default_factory=dict)

    @property
    def errors(self) -> int:
        """What workers saw, as an application counts: failed transactions, closed connections, refused logins."""
        return self.tallies[Stream.TRANSACTIONS].failed + self.tallies[Stream.LOGINS].failed + len(self.closed)

    @property
    def last_error(self) -> float | None:
        """When the last of them happened."""
        times = [self.tallies[stream].last_failure for stream in (Stream.TRANSACTIONS, Stream.LOGINS)]
        return max(
            [each for each in (*times, *(closed.at for closed in self.closed)) if each is not None], default=None
        )

    @classmethod
    def of(cls, book: Book, began: float, seconds: float, verdict: Verdict) -> Report:
        return cls(began, seconds, book.tallies, book.closed, book.marks, verdict, dict(book.hits), book.served)

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Report:
        return cls.from_data(json.loads(text))

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> Report:
        """Of what `asdict` makes."""
        return cls(
            began=data["began"],
            seconds=data["seconds"],
            tallies={Stream(name): _tally(tally) for name, tally in data["tallies"].items()},
            closed=[Closed(**each) for each in data["closed"]],
            marks=[Mark(**each) for each in data["marks"]],
            verdict=Verdict(**data["verdict"]),
            hits={int(client): count for client, count in data["hits"].items()},
            served={server: Served(**each) for server, each in data["served"].items()},
        )


def _tally(data: dict[str, Any]) -> Tally:
    failures = {
        Kind(kind): Failures(each["count"], [Example(**example) for example in each["examples"]])
        for kind, each in data["failures"].items()
    }
    return Tally(**{**data, "failures": failures})
