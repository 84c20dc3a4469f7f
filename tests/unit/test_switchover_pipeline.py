"""Steps in order, undone in reverse."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pooler.errors import PoolerError
from pooler.switchover.pipeline import Step, StepError, Taken, run


def numbered(count: int, log: list[str], failing: frozenset[str] = frozenset()) -> list[Step]:
    def take(name: str) -> Callable[[], None]:
        def taken() -> None:
            log.append(name)
            if name in failing:
                raise PoolerError(f"{name} failed")

        return taken

    return [Step(str(number), take(f"do {number}"), take(f"undo {number}")) for number in range(count)]


def test_all_steps_are_taken_in_order_and_nothing_is_undone() -> None:
    log: list[str] = []
    taken = run(numbered(3, log), lambda _taken: None)
    assert log == ["do 0", "do 1", "do 2"]
    assert [each.name for each in taken] == ["0", "1", "2"]


@given(count=st.integers(1, 6), data=st.data())
def test_what_was_begun_is_undone_in_reverse_even_when_undoing_fails(count: int, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, count - 1))
    broken = data.draw(st.frozensets(st.integers(0, at).map(lambda number: f"undo {number}")))
    log: list[str] = []
    with pytest.raises(StepError) as error:
        run(numbered(count, log, frozenset({f"do {at}"}) | broken), lambda _taken: None)
    assert log == [f"do {number}" for number in range(at + 1)] + [f"undo {number}" for number in range(at, -1, -1)]
    assert str(error.value).startswith(f"{at}: do {at} failed")
    assert all(f"{name} failed" in str(error.value) for name in broken)


def test_a_step_that_leaves_nothing_behind_is_not_undone() -> None:
    log: list[str] = []
    steps = [*numbered(1, log), Step("last", lambda: 1 / 0)]  # type: ignore[arg-type]
    with pytest.raises(StepError, match=r"last: ZeroDivisionError: division by zero"):
        run(steps, lambda _taken: None)
    assert log == ["do 0", "undo 0"]


def test_each_step_is_told_with_its_time_and_its_error() -> None:
    told: list[Taken] = []
    times = iter([1.0, 3.0, 3.0, 3.5, 4.0, 4.25, 5.0, 5.5])
    with pytest.raises(StepError) as error:
        run(numbered(2, [], frozenset({"do 1"})), told.append, clock=lambda: next(times))
    assert told == [
        Taken("0", 2.0),
        Taken("1", 0.5, "do 1 failed"),
        Taken("undo 1", 0.25),
        Taken("undo 0", 0.5),
    ]
    assert error.value.taken == tuple(told)


def test_a_run_ends_before_a_stoppable_step_and_only_there() -> None:
    log: list[str] = []
    steps = [replace(step, stoppable=number == 2) for number, step in enumerate(numbered(4, log))]
    with pytest.raises(StepError, match="2: was told to stop"):
        run(steps, lambda _taken: None, lambda: True)
    assert log == ["do 0", "do 1", "undo 1", "undo 0"]
