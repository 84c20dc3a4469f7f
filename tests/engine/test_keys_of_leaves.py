"""Which kinds of keys the engine takes in its certificates: the one it shows, its own as a client, and clients'."""

from __future__ import annotations

import pytest

from pooler.certificates import KeyType
from tests.engine.chain import chain


@pytest.mark.parametrize("kind", ["rsa", "ed25519"])
def test_engine_and_postgresql_take_leaves_whose_keys_are_of_another_kind(kind: KeyType) -> None:
    with chain(kind) as tier:
        # Through auth_query, for which the engine has shown PostgreSQL its leaf; ours was verified by the client.
        assert tier.lets_in("alice")
        assert tier.lets_in("bob", "certified", leaf="bob", as_user="svc")
        assert not tier.lets_in("bob", "certified", leaf="alice", as_user="svc")
