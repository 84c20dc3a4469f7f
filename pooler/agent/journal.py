"""What the agent tells the journal: one line an event."""

from __future__ import annotations

import sys
import time

_AGAIN = 60.0
"""Seconds in which the same trouble is not said again."""

_said: dict[str, float] = {}


def say(text: str) -> None:
    """Something has happened."""
    print(" ".join(text.split()), file=sys.stderr, flush=True)


def trouble(text: str) -> None:
    """Something cannot be done, which is tried again all the time: one line a minute."""
    now = time.monotonic()
    if now - _said.get(text, -_AGAIN) < _AGAIN:
        return
    if len(_said) > 1000:
        _said.clear()
    _said[text] = now
    say(text)
