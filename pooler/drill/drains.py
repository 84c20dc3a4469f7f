"""When instances drained, by the engine's own log; and which connections were closed before their time."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

JOURNAL = "journalctl --quiet --no-pager --output=json --output-fields=SYSLOG_IDENTIFIER,MESSAGE --unit='pgbouncer@*'"
"""The command whose lines `read` takes; `--since=@SECONDS` may be added."""

_WAITS = ("got SIGTERM", "SHUTDOWN WAIT_FOR_CLIENTS")
_CUTS = ("got SIGINT", "got SIGQUIT", "SHUTDOWN")
_ENDS = ("exiting", "process up:")


@dataclass(frozen=True)
class Drain:
    """One instance going down, in seconds since the epoch.

    `waited`: when it began to wait for its clients, None when it did not. `cut`: when it was told to end what was
    left, None when it was not. `ended`: its last word, or the first one of the instance's next process; None when
    there was neither.
    """

    instance: str
    waited: float | None = None
    cut: float | None = None
    ended: float | None = None


def read(lines: Iterable[str]) -> list[Drain]:
    """All drains in lines of `JOURNAL`, in the order in which they began."""
    drains: list[Drain] = []
    under_way: dict[str, int] = {}
    for line in lines:
        entry = json.loads(line)
        instance, message = str(entry.get("SYSLOG_IDENTIFIER", "")), entry.get("MESSAGE")
        if not instance.startswith("pgbouncer@") or not isinstance(message, str):
            continue
        at = int(entry["__REALTIME_TIMESTAMP"]) / 1e6
        waits = any(word in message for word in _WAITS)
        cuts = not waits and any(word in message for word in _CUTS)
        if (waits or cuts) and instance not in under_way:
            under_way[instance] = len(drains)
            drains.append(Drain(instance, waited=at if waits else None, cut=at if cuts else None))
        elif cuts and drains[under_way[instance]].cut is None:
            drains[under_way[instance]] = replace(drains[under_way[instance]], cut=at)
        elif instance in under_way and any(word in message for word in _ENDS):
            place = under_way.pop(instance)
            drains[place] = replace(drains[place], ended=at)
    return drains


def early(closed: Sequence[float], drains: Sequence[Drain], deadline: float, slack: float = 0.25) -> int:
    """How many connections were closed when no instance had waited for `deadline` seconds.

    `closed` and the drains are in seconds since the epoch. A connection may be closed from the deadline of some drain
    on until that instance has ended; `slack` is what the clocks may be off. A client on a busy machine may hear of its
    end some seconds late.
    """
    return sum(not any(_allowed(at, drain, deadline, slack) for drain in drains) for at in closed)


_LATE = 3.0


def _allowed(at: float, drain: Drain, deadline: float, slack: float) -> bool:
    if drain.waited is None:
        return False
    until = float("inf") if drain.ended is None else drain.ended
    return drain.waited + deadline - slack <= at <= until + _LATE
