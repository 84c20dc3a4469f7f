"""What a run has done and what clients have felt, for people and as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Self

from .agents import Canary
from .pipeline import Taken


@dataclass(frozen=True)
class Report:
    """Times are in seconds. `patroni` is what Patroni itself took, from the order until the leader took writes.

    `hosts` is what the client of each agent has felt. `changed`: Patroni was given the order. `error` is why the run
    failed, or empty.
    """

    leader: str = ""
    candidate: str = ""
    changed: bool = False
    patroni: float | None = None
    hosts: Mapping[str, Canary] = field(default_factory=dict)
    steps: tuple[Taken, ...] = ()
    notes: tuple[str, ...] = ()
    error: str = ""

    @property
    def stall(self) -> float | None:
        """The longest wait of any client."""
        return max((canary.stall for canary in self.hosts.values()), default=None)

    @property
    def failed(self) -> int:
        """Transactions of all clients that ended with an error."""
        return sum(canary.failed for canary in self.hosts.values())

    @property
    def done(self) -> int:
        return sum(canary.done for canary in self.hosts.values())

    def judged(self, max_stall: float) -> Self:
        """With an error when clients have waited longer than they should."""
        if self.error or self.stall is None or self.stall <= max_stall:
            return self
        return replace(self, error=f"clients waited {self.stall:.2f} s, longer than the {max_stall:g} s allowed")

    def to_json(self) -> str:
        """One line; times to the millisecond."""
        return json.dumps(_rounded({**asdict(self), "stall": self.stall, "failed": self.failed, "done": self.done}))

    def text(self) -> str:
        """What matters, a line each."""
        lines = [f"note: {note}" for note in self.notes]
        if self.stall is not None:
            whose = f"; Patroni alone took {self.patroni:.3f} s" if self.patroni is not None else ""
            lines.append(f"clients waited at most {self.stall:.3f} s{whose}")
            lines.append(f"{self.failed} of {self.failed + self.done} transactions failed")
        if self.error:
            lines.append(f"failed: {self.error}")
        elif self.changed:
            lines.append(f"{self.candidate or self.leader} leads")
        return "\n".join(lines)


def line(taken: Taken) -> str:
    """One step, while it goes on."""
    return f"{taken.seconds:8.3f} s  {taken.name}" + (f": {taken.error}" if taken.error else "")


def _rounded(value: object) -> object:
    if isinstance(value, float):
        return round(value, 3)
    if isinstance(value, dict):
        return {key: _rounded(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(each) for each in value]
    return value
