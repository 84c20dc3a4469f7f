"""When the agent does again what it does all the time."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pooler.agent.rhythm import BEAT, due, next_turn

TIMES = st.floats(0, 1e7, allow_nan=False)


@given(TIMES, st.floats(BEAT, 10))
def test_what_is_not_in_a_hurry_is_due_at_a_beat_and_never_half_a_beat_off(since: float, seconds: float) -> None:
    at = due(since, seconds)
    assert at % BEAT == 0
    assert since < at
    assert abs(at - (since + seconds)) <= BEAT / 2


@given(TIMES)
def test_what_is_done_at_a_beat_keeps_its_pace(since: float) -> None:
    beat = due(since, 1.0)
    assert due(beat + 0.01, 1.0) == beat + 1.0


@pytest.mark.parametrize("seconds", [0.1, 0.2])
def test_what_is_in_a_hurry_does_not_wait_for_a_beat(seconds: float) -> None:
    assert due(1000.01, seconds) == 1000.01 + seconds


@given(st.floats(0, 1e9), st.integers(0, 4), st.integers(1, 5))
def test_turns_come_in_rounds(now: float, turn: int, length: int) -> None:
    again = next_turn(now, float(turn), float(length))
    assert now < again <= now + length + 1e-6
    assert math.isclose((again - turn + length / 2) % length, length / 2, abs_tol=1e-3)
