"""The order of restarts in a Patroni cluster, and when there is to be none."""

from __future__ import annotations

import json

import pytest

from pooler import rolling
from pooler.errors import PoolerError
from pooler.rolling import Member

UP = {"max_connections": ("200", "300")}
DOWN = {"max_connections": ("300", "200")}
BUFFERS = {"shared_buffers": ("16384", "8192")}


def replica(name: str, pending: dict[str, tuple[str, str]] | None = None, role: str = "replica") -> Member:
    return Member(name, role, "streaming", due=pending is not None, pending=pending or {})


def leader(pending: dict[str, tuple[str, str]] | None = None) -> Member:
    return Member("a", "leader", "running", due=pending is not None, pending=pending or {})


def names(members: list[Member]) -> list[str]:
    return [member.name for member in rolling.due(members)]


def test_nobody_is_due_where_nothing_is_pending() -> None:
    assert names([leader(), replica("b")]) == []


def test_replicas_come_first_the_synchronous_one_last_then_the_leader() -> None:
    members = [leader(UP), replica("b", UP, "sync_standby"), replica("d", UP), replica("c", UP)]
    assert names(members) == ["c", "d", "b", "a"]


def test_what_becomes_less_is_lowered_on_the_leader_first() -> None:
    assert names([leader(DOWN), replica("b", DOWN), replica("c", DOWN)]) == ["a", "b", "c"]


def test_once_the_leader_has_less_the_replicas_follow() -> None:
    assert names([leader(), replica("b", DOWN), replica("c", DOWN)]) == ["b", "c"]


def test_a_replica_that_is_due_for_something_else_too_does_not_wait() -> None:
    assert names([leader({**DOWN, **BUFFERS}), replica("b", {**DOWN, **BUFFERS}), replica("c", DOWN)]) == [
        "b",
        "a",
        "c",
    ]


def test_less_memory_is_no_reason_to_begin_with_the_leader() -> None:
    assert names([leader(BUFFERS), replica("b", BUFFERS)]) == ["b", "a"]


def test_a_member_that_does_not_say_why_is_restarted_in_its_turn() -> None:
    assert names([leader({}), replica("b", {})]) == ["b", "a"]


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ([replica("b"), replica("c")], "nobody leads"),
        ([leader(), Member("b", "replica", "running")], "b is running, not streaming"),
        ([leader(), Member("b", "replica", "silent")], "b is silent"),
        ([Member("a", "leader", "restarting"), replica("b")], "nobody leads"),
        ([leader()], "b is gone"),
        ([leader(), replica("b")], "there are 2 members, not 3"),
    ],
)
def test_no_restart_where_not_all_is_well(members: list[Member], words: str) -> None:
    assert words in "; ".join(rolling.trouble(members, ["a", "b"], 3))


def test_all_is_well_with_a_leader_and_streaming_replicas() -> None:
    assert rolling.trouble([leader(), replica("b")], ["a", "b"], 2) == ()


CLUSTER = json.dumps(
    {
        "members": [
            {"name": "a", "role": "leader", "state": "running", "api_url": "https://a:8008/patroni"},
            {"name": "b", "role": "sync_standby", "state": "streaming", "api_url": "https://b:8008/patroni"},
        ]
    }
)


def test_a_members_own_words_are_newer_than_what_is_in_etcd() -> None:
    reason = {"max_connections": {"old_value": "200", "new_value": "300"}}
    own = {
        "a": json.dumps({"state": "running", "role": "primary"}),
        "b": json.dumps(
            {
                "state": "running",
                "replication_state": "streaming",
                "pending_restart": True,
                "pending_restart_reason": reason,
            }
        ),
    }
    cluster = rolling.parse('{"ttl": 30}', CLUSTER, own, {"a": '{"ttl": 30}', "b": '{"ttl": 20}'})
    first, second = cluster.members
    assert (first.state, first.due, first.url, first.leads) == ("running", False, "https://a:8008", True)
    assert (second.state, second.due, second.pending) == ("streaming", True, {"max_connections": ("200", "300")})
    assert [member.name for member in cluster.behind()] == ["b"]
    assert second.why() == "max_connections 200 -> 300"


def test_a_member_whose_api_does_not_answer_is_silent_whatever_etcd_says() -> None:
    cluster = rolling.parse("{}", CLUSTER, {"a": '{"state": "running"}', "b": None}, {})
    assert [member.state for member in cluster.members] == ["running", "silent"]


@pytest.mark.parametrize("answer", ["", "nonsense", "[]", '{"members": [{"name": "a"}]}'])
def test_an_answer_that_is_not_understood_is_an_error_of_ours(answer: str) -> None:
    with pytest.raises(PoolerError, match="not understood"):
        rolling.parse("{}", answer, {}, {})
