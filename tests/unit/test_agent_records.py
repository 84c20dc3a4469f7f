"""What outlives an agent: its own pause, and what it may not end."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pooler.agent.records import Made, Records


@pytest.mark.parametrize("reason", ["loss", "switchover"])
def test_a_pause_is_remembered_as_it_was_made(tmp_path: Path, reason: str) -> None:
    records = Records(str(tmp_path))
    assert records.made() is None
    made = Made(reason, 1234.5, {50001: frozenset({"app", "*"})})  # type: ignore[arg-type]
    records.make(made)
    assert Records(str(tmp_path)).made() == made
    assert [path.name for path in tmp_path.iterdir()] == ["pause.json"]
    records.forget()
    records.forget()
    assert records.made() is None


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "{}", '{"reason": "loss", "until": "soon"}', '{"until": 1, "others": 3}']
)
def test_a_pause_that_cannot_be_understood_is_over(tmp_path: Path, text: str) -> None:
    (tmp_path / "pause.json").write_text(text)
    made = Records(str(tmp_path)).made()
    assert made is not None
    assert made.remaining(60.0).until <= time.monotonic()


@given(st.floats(-1e9, 1e9))
def test_no_pause_outlives_its_limit_whatever_the_clock_has_done(ahead: float) -> None:
    left = Made("loss", time.time() + ahead).remaining(60.0).until - time.monotonic()
    assert left <= 60.0
    assert ahead > 0 or left <= 0.0


def test_what_operators_have_paused_is_read_line_by_line(tmp_path: Path) -> None:
    records = Records(str(tmp_path))
    assert records.paused() == frozenset()
    (tmp_path / "paused").write_text("app\n\n a b \n*\n")
    assert records.paused() == {"app", "a b", "*"}
    assert not records.draining()
    (tmp_path / "draining").touch()
    assert records.draining()
