"""Steps in order; when one fails, what was begun is undone in reverse order."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..errors import PoolerError

Do = Callable[[], None]
Clock = Callable[[], float]


def _nothing() -> None:
    """For steps that leave nothing behind."""


@dataclass(frozen=True)
class Step:
    """`undo` must hold up to a `do` that was carried out only in part.

    Before a step that is `stoppable` the run may be ended by whoever asked for it.
    """

    name: str
    do: Do
    undo: Do = _nothing
    stoppable: bool = False


@dataclass(frozen=True)
class Taken:
    """What was done, or undone, and how long it took in seconds; `error` is why it failed, or empty."""

    name: str
    seconds: float
    error: str = ""


class StepError(PoolerError):
    """A step failed. What was begun before it has been undone; `taken` tells how that went."""

    def __init__(self, message: str, taken: Sequence[Taken]) -> None:
        self.taken = tuple(taken)
        super().__init__(message)


def run(
    steps: Sequence[Step],
    told: Callable[[Taken], None],
    stopped: Callable[[], bool] = lambda: False,
    clock: Clock = time.monotonic,
) -> tuple[Taken, ...]:
    """Carry out the steps and tell of each. Raises StepError with the first failure's words.

    The step that failed is undone too, since it may have got halfway; an undo that fails keeps no other from being
    tried.
    """
    taken: list[Taken] = []

    def take(name: str, do: Do) -> str:
        began, error = clock(), ""
        try:
            do()
        except Exception as trouble:
            error = _words(trouble)
        taken.append(Taken(name, clock() - began, error))
        told(taken[-1])
        return error

    begun: list[Step] = []
    for step in steps:
        if step.stoppable and stopped():
            failure = "was told to stop"
        else:
            begun.append(step)
            failure = take(step.name, step.do)
        if failure:
            left = [take(f"undo {each.name}", each.undo) for each in reversed(begun) if each.undo is not _nothing]
            raise StepError("; ".join([f"{step.name}: {failure}", *filter(None, left)]), taken)
    return tuple(taken)


def _words(trouble: Exception) -> str:
    """Of our own errors the words, of others their kind as well: those say too little alone."""
    words = str(trouble).strip()
    if isinstance(trouble, PoolerError):
        return words
    return f"{type(trouble).__name__}: {words}" if words else type(trouble).__name__
