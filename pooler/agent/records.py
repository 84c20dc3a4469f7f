"""The files that outlive an agent: its own pause, what operators have paused, whether the host is drained."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from .config import STATE
from .consoles import ALL
from .decide import Pause, Reason


@dataclass(frozen=True)
class Made:
    """The agent's own pause on disk. `until` in seconds since the epoch.

    `others` are the pauses that were there before, by console: somebody else's to end.
    """

    reason: Reason
    until: float
    others: Mapping[int, frozenset[str]] = field(default_factory=dict)

    def remaining(self, limit: float) -> Pause:
        """The same on the clock of the process, whatever the wall clock has done meanwhile."""
        left = min(max(self.until - time.time(), 0.0), limit)
        return Pause(self.reason, time.monotonic() + left)


class Records:
    """The directory of state. Reading never fails: what cannot be read is not there."""

    def __init__(self, directory: str = STATE) -> None:
        self._pause = Path(directory, "pause.json")
        self._paused = Path(directory, "paused")
        self._draining = Path(directory, "draining")

    def made(self) -> Made | None:
        """The pause that an agent has made and not ended yet; one that cannot be understood is over at once."""
        try:
            found = json.loads(self._pause.read_text(encoding="utf-8"))
            others = {int(console): frozenset(names) for console, names in found.get("others", {}).items()}
            reason: Reason = "switchover" if found["reason"] == "switchover" else "loss"
            return Made(reason, float(found["until"]), others)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            return Made("loss", 0.0)

    def make(self, made: Made) -> None:
        """Written before the PAUSE. Raises OSError: a pause that nobody would remember is not made.

        Not forced to the disk, since instances do not outlive a crash of the host either.
        """
        others = {str(console): sorted(names) for console, names in made.others.items() if names}
        fresh = self._pause.with_name(".pause.json.new")
        fresh.write_text(json.dumps({"reason": made.reason, "until": made.until, "others": others}), encoding="utf-8")
        fresh.rename(self._pause)

    def forget(self) -> None:
        """Deleted after the RESUME."""
        self._pause.unlink(missing_ok=True)

    def paused(self) -> frozenset[str]:
        """What operators have paused: names of databases, `ALL` for everything."""
        try:
            lines = self._paused.read_text(encoding="utf-8").splitlines()
        except (OSError, ValueError):
            return frozenset()
        return frozenset(line.strip() for line in lines if line.strip())

    def draining(self) -> bool:
        return self._draining.exists()


def explained(paused: frozenset[str], operators: frozenset[str]) -> frozenset[str]:
    """Of what is paused on an instance, what operators have ordered; a `*` of theirs explains everything."""
    return paused if ALL in operators else paused & operators
