"""Patroni's dynamic configuration: patches hold what is wanted, touch nothing else, and come to an end."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pooler import dynamic

KEYS = st.sampled_from(["ttl", "postgresql", "parameters", "slots", "a"])
VALUES = st.none() | st.booleans() | st.integers(0, 3) | st.sampled_from(["", "1", "on", "True"]) | st.lists(st.just(1))
PRESENT = VALUES.filter(lambda value: value is not None)


def _documents(values: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    inner = st.recursive(values, lambda children: st.dictionaries(KEYS, children, max_size=3), max_leaves=8)
    return st.dictionaries(KEYS, inner, max_size=4)


def patroni(config: dict[str, Any], data: dict[str, Any]) -> bool:
    """As Patroni 4.0 carries a PATCH out; gives whether it changes anything."""
    changed = False
    for name, value in data.items():
        if value is None:
            changed |= config.pop(name, None) is not None
        elif name in config:
            if isinstance(value, dict):
                if isinstance(config[name], dict):
                    changed |= patroni(config[name], value)
                else:
                    config[name], changed = value, True
            elif str(config[name]) != str(value):
                config[name], changed = value, True
        else:
            config[name], changed = value, True
    return changed


@given(_documents(VALUES), _documents(PRESENT))
def test_after_a_patch_nothing_differs_any_more(wanted: dict[str, Any], found: dict[str, Any]) -> None:
    after = json.loads(json.dumps(found))
    changes = dynamic.patch(wanted, found)
    assert patroni(after, json.loads(json.dumps(changes))) == bool(changes)
    assert dynamic.patch(wanted, after) == {}
    assert dynamic.patched(found, changes) == after


@given(_documents(VALUES), _documents(PRESENT))
def test_a_patch_leaves_alone_what_is_not_named(wanted: dict[str, Any], found: dict[str, Any]) -> None:
    after = dynamic.patched(found, dynamic.patch(wanted, found))
    assert {key: after.get(key) for key in found if key not in wanted} == {
        key: value for key, value in found.items() if key not in wanted
    }


@given(_documents(VALUES), _documents(PRESENT))
def test_every_change_is_told(wanted: dict[str, Any], found: dict[str, Any]) -> None:
    changes = dynamic.patch(wanted, found)
    assert bool(dynamic.differences(changes, found)) == bool(changes)


def test_a_setting_of_somebody_else_stays_beside_ours() -> None:
    found = {"ttl": 30, "postgresql": {"parameters": {"work_mem": "7MB", "max_connections": 100}}}
    wanted = {"ttl": 30, "postgresql": {"parameters": {"max_connections": 200}}}
    changes = dynamic.patch(wanted, found)
    assert changes == {"postgresql": {"parameters": {"max_connections": 200}}}
    assert dynamic.patched(found, changes)["postgresql"]["parameters"]["work_mem"] == "7MB"
    assert list(map(str, dynamic.differences(changes, found))) == [
        "postgresql.parameters.max_connections: 100, should be 200"
    ]
    assert dynamic.touched(changes, found) == {"postgresql": {"parameters": {"max_connections": 100}}}


def test_null_takes_a_key_away_once() -> None:
    changes = dynamic.patch({"standby_cluster": None}, {"standby_cluster": {"host": "a"}})
    assert changes == {"standby_cluster": None}
    assert dynamic.patch({"standby_cluster": None}, {}) == {}


@pytest.mark.parametrize(("wanted", "found"), [(200, "200"), ("200", 200), (True, "True")])
def test_what_patroni_takes_for_the_same_is_not_patched_again_and_again(wanted: Any, found: Any) -> None:
    assert dynamic.patch({"ttl": wanted}, {"ttl": found}) == {}


def test_settings_of_postgresql_are_found_in_a_patch() -> None:
    assert dynamic.parameters({"ttl": 1, "postgresql": {"parameters": {"Max_Connections": 3, "b": None}}}) == {
        "max_connections",
        "b",
    }
    assert dynamic.parameters({"postgresql": None}) == set()
