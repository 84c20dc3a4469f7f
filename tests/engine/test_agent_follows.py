"""The agent against real servers and engines: it follows the leader, and clients wait instead of failing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engine.pair import Pair, pair


@pytest.fixture
def two(tmp_path: Path) -> Iterator[Pair]:
    with pair(tmp_path) as made:
        made.start_databases()
        made.start_instances(50001, 50002)
        yield made


def test_it_becomes_ready_and_says_who_leads(two: Pair) -> None:
    agent = two.start_agent()
    assert agent.until_ready()["leader"] == "127.0.0.11:5432"
    assert agent.ask("/live")[0] == 200
    print(agent.process.log, agent.status())
