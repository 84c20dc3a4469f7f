"""Pools held against what Patroni says that PostgreSQL has, where the inventory does not say it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

import pytest
from ansible_collections.pgfleet.pooler.plugins.action import pgbouncer
from ansible_collections.pgfleet.pooler.plugins.plugin_utils.host import Host
from ansible_collections.pgfleet.pooler.pooler import variables as read_by_plugins
from ansible_collections.pgfleet.pooler.pooler.errors import InvalidError as Refused

from pooler import patroni, shell, variables
from pooler.errors import InvalidError, PoolerError

OPTIONS: dict[str, Any] = {
    "image": "localhost/pgfleet/pooler:0.1.0",
    "patroni": ["https://db1:8008"],
    "databases": [{"name": "app", "pool_size": 20}],
    "capacity": {"hosts": 3},
}
WANTED = 138
"""(20 + 2 for auth_query + 1 of the agent) x 2 instances x 3 hosts; agents take 6 beside the pools."""


class Answers:
    """A bare host whose Patroni says so."""

    def __init__(self, connections: Mapping[str, object]) -> None:
        self.connections = connections

    def execute(self, _command: str, data: bytes) -> Mapping[str, Any]:
        mark = re.search(r"@[0-9a-f]{16}", data.decode())
        assert mark
        told = f"\n{mark[0]} connections\n{json.dumps(self.connections)}\n\n{mark[0]} end\n"
        return {"rc": 0, "stdout": told, "stderr": ""}


def planned(connections: Mapping[str, object]) -> dict[str, Any]:
    """What the module would do, in check mode."""
    action = pgbouncer.ActionModule.__new__(pgbouncer.ActionModule)
    action.check, action.diff = True, False
    host = Host("pool1", Answers(connections).execute)
    result: dict[str, Any] = action._present(host, read_by_plugins.read(OPTIONS), {}, None)
    return result


def test_pools_that_cannot_fit_what_patroni_tells_are_refused_before_anything_is_done() -> None:
    room = WANTED + 6 + 10
    assert planned({"max_connections": room})["warnings"] == []
    with pytest.raises(Refused, match=f"room for {WANTED - 1}: max_connections {room - 1} - 10 reserved - 6 of agents"):
        planned({"max_connections": room - 1})


def test_who_cannot_ask_says_that_nothing_was_counted() -> None:
    (warning,) = planned({"error": "https://db1:8008: refused"})["warnings"]
    assert "not held against max_connections: https://db1:8008: refused" in warning


@pytest.mark.parametrize(
    ("changes", "asked"),
    [
        ({}, True),
        ({"capacity": {"hosts": 3, "max_connections": 200}}, False),
        ({"capacity": None}, False),
        ({"patroni": None, "server": "db1", "capacity": None}, False),
    ],
)
def test_patroni_is_asked_only_for_what_nobody_has_told(changes: dict[str, Any], asked: bool) -> None:
    script = shell.read(variables.read(OPTIONS | changes))

    assert (" pooler connections --ca " in script) is asked


def test_without_patroni_it_has_to_be_told() -> None:
    with pytest.raises(InvalidError, match=r"capacity.max_connections: is missing \(give it, or Patroni's addresses"):
        variables.read(OPTIONS | {"patroni": None, "server": "db1"})


@pytest.mark.parametrize(
    ("config", "connections"),
    [
        ({"postgresql": {"parameters": {"max_connections": 300}}}, 300),
        ({"postgresql": {"parameters": {"max_connections": "300"}}}, 300),
        ({"postgresql": {"parameters": {"work_mem": "8MB"}}}, 100),
        ({"postgresql": {"parameters": None}}, 100),
        ({"ttl": 30}, 100),
    ],
)
def test_what_patroni_starts_postgresql_with(config: dict[str, Any], connections: int) -> None:
    assert patroni.parse_max_connections(json.dumps(config)) == connections


@pytest.mark.parametrize("answer", ["no JSON", '{"postgresql": {"parameters": {"max_connections": "many"}}}', "[1]"])
def test_what_is_no_configuration_is_not_believed(answer: str) -> None:
    with pytest.raises((PoolerError, ValueError)):
        patroni.parse_max_connections(answer)
