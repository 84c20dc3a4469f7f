"""The queue in front of a pool, where its answer is known otherwise."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pooler import waiting


def test_nobody_waits_where_each_has_a_connection() -> None:
    found = waiting.predicted(clients=5, servers=5, held=0.02, between=0.06)

    assert found.seconds == 0
    assert found.per_second == pytest.approx(5 / 0.08)
    assert found.busy == pytest.approx(0.25)


def test_clients_without_a_pause_queue_up() -> None:
    found = waiting.predicted(clients=40, servers=8, held=0.02, between=0)

    assert [found.seconds, found.per_second, found.busy] == pytest.approx([0.08, 400, 1])


def test_many_clients_with_long_pauses_are_a_stream() -> None:
    # Erlang's formula for 40 transactions a second of 20 ms on one connection: 0.8 x 20 ms / (1 - 0.8).
    found = waiting.predicted(clients=20_000, servers=1, held=0.02, between=500)

    assert found.seconds == pytest.approx(0.08, rel=0.02)


def test_two_clients_of_one_connection() -> None:
    # By hand: states 0, 1, 2 with weights 1, 2a, 2a² and a = held / between.
    a = 0.5
    found = waiting.predicted(clients=2, servers=1, held=1, between=2)

    whole = 1 + 2 * a + 2 * a * a
    assert found.busy == pytest.approx(1 - 1 / whole)
    assert found.seconds == pytest.approx((2 * a * a / whole) / found.per_second)


@given(st.integers(1, 500), st.integers(1, 100), st.floats(1e-4, 10), st.floats(0, 100))
def test_every_client_is_somewhere(clients: int, servers: int, held: float, between: float) -> None:
    found = waiting.predicted(clients, servers, held, between)

    # Little's law: in a transaction, waiting for one, or in a pause.
    assert math.isclose(found.per_second * (held + found.seconds + between), clients, rel_tol=1e-6)
    assert 0 < found.busy <= 1 + 1e-9
