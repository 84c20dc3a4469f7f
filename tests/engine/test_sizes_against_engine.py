"""What `pooler size` says, on the real engine: clients that do not fit without a pool, and that it fits them."""

from __future__ import annotations

from tests.engine.crowd import CLIENTS, MAX_CONNECTIONS, crowd


def test_576_clients_do_not_fit_and_through_the_sized_pool_none_fails() -> None:
    found = crowd()

    # One connection is the test's own.
    assert (found.entered, found.refused) == (MAX_CONNECTIONS - 1, CLIENTS - MAX_CONNECTIONS + 1)
    assert found.failed == 0
    assert 0 < found.most <= found.servers
