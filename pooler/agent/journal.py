"""What the agent tells the journal: one line an event."""

from __future__ import annotations

import sys
import time

_AGAIN = 60.0
"""Seconds in which the same line is not said again."""

_said: dict[str, float] = {}


def say(text: str) -> None:
    """A line; when it is repeated every second, one a minute."""
    now = time.monotonic()
    if now - _said.get(text, -_AGAIN) < _AGAIN:
        return
    if len(_said) > 1000:
        _said.clear()
    _said[text] = now
    print(" ".join(text.split()), file=sys.stderr, flush=True)
