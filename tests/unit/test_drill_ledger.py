"""Writes that were acknowledged against what is in the table."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pooler.drill.ledger import Ledger, Verdict


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 3)), max_size=40))
def test_lost_doubled_and_unknown_writes_are_told_apart(writes: list[tuple[bool, int]]) -> None:
    """Each write: whether the client got its answer, and how often it is in the table."""
    ledger, table = Ledger(), list[int]()
    for answered, times in writes:
        number = ledger.draw()
        if answered:
            ledger.acknowledge(number)
        table += [number] * times
    assert ledger.compare(table, {}) == Verdict(
        acknowledged=sum(answered for answered, _ in writes),
        lost=sum(answered and not times for answered, times in writes),
        doubled=sum(max(0, times - 1) for _, times in writes),
        unknown=sum(not answered for answered, _ in writes),
        unknown_committed=sum(not answered and times > 0 for answered, times in writes),
    )


@given(st.integers(0, 20), st.integers(0, 5), st.integers(0, 30))
def test_a_counter_may_only_stand_between_what_is_sure_and_what_may_be(sure: int, unsure: int, stands: int) -> None:
    ledger = Ledger()
    for _ in range(sure):
        ledger.raising(1)
        ledger.raised(1)
    for _ in range(unsure):
        ledger.raising(1)
    assert ledger.compare([], {1: stands}) == Verdict(
        acknowledged=sure,
        lost=max(0, sure - stands),
        doubled=max(0, stands - sure - unsure),
        unknown=unsure,
        unknown_committed=min(max(0, stands - sure), unsure),
    )


def test_a_counter_that_is_gone_has_lost_everything() -> None:
    ledger = Ledger()
    for client in (1, 1, 2):
        ledger.raising(client)
        ledger.raised(client)
    assert ledger.compare([], {1: 2}).lost == 1


@given(st.lists(st.booleans(), max_size=20))
def test_a_commit_without_an_answer_is_ambiguous(answered: list[bool]) -> None:
    ledger = Ledger()
    for each in answered:
        ledger.draw()
        ledger.committing()
        if each:
            ledger.committed()
    assert ledger.compare([], {}).ambiguous == answered.count(False)
