"""When what is done again and again is due: all of it at the same moments.

A process that is woken for each thing by itself costs twice as much as one that is woken once for all of them.
"""

from __future__ import annotations

BEAT = 0.25
"""Seconds."""


def due(since: float, seconds: float) -> float:
    """When to do again after `seconds` what was done at `since`: at the nearest beat, and what is in a hurry at once.

    Both times are on time.monotonic.
    """
    at = since + seconds
    return at if seconds < BEAT else round(at / BEAT) * BEAT


def next_turn(now: float, turn: float, length: float) -> float:
    """When it is this turn again, in seconds from the beginning of rounds of this length, for whoever takes turns."""
    return now + length - (now - turn) % length
