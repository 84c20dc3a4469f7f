"""What a run found, as data: the load prints it as JSON, whoever started the load reads it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

from .book import Book, Closed, Example, Failures, Mark, Stream, Tally
from .failures import Kind
from .ledger import Verdict


@dataclass(frozen=True)
class Report:
    """`began` is in seconds since the epoch, every other time in seconds since then."""

    began: float
    seconds: float
    tallies: dict[Stream, Tally]
    closed: list[Closed]
    marks: list[Mark]
    verdict: Verdict

    @classmethod
    def of(cls, book: Book, began: float, seconds: float, verdict: Verdict) -> Report:
        return cls(began, seconds, book.tallies, book.closed, book.marks, verdict)

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Report:
        data = json.loads(text)
        return cls(
            began=data["began"],
            seconds=data["seconds"],
            tallies={Stream(name): _tally(tally) for name, tally in data["tallies"].items()},
            closed=[Closed(**each) for each in data["closed"]],
            marks=[Mark(**each) for each in data["marks"]],
            verdict=Verdict(**data["verdict"]),
        )


def _tally(data: dict[str, Any]) -> Tally:
    failures = {
        Kind(kind): Failures(each["count"], [Example(**example) for example in each["examples"]])
        for kind, each in data["failures"].items()
    }
    return Tally(**{**data, "failures": failures})
