"""What the agent says to those who ask: ready only with a pool that was just seen to serve."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pooler.agent import health
from pooler.agent.consoles import Console, Facts
from pooler.agent.decide import Pause, State
from pooler.agent.health import Picture
from pooler.agent.instances import FRESH, Instance, Served
from pooler.agent.records import explained
from pooler.server import Server

FACTS = Facts(99.0, {}, frozenset(), frozenset())
FINE = Instance(Console(50001, 6432), FACTS, "", Served(99.5, writable=True), Served(99.5, in_recovery=True))
ALONE = Picture(now=100.0, epoch=1e9, state=State(Server("a"), confirmed=True), instances={50001: FINE})


def test_ready_by_a_query_through_the_pool_just_now() -> None:
    assert health.ready(ALONE) == {
        "ready": True,
        "reason": "",
        "leader": "a:5432",
        "instances": {"50001": {"ready": True, "reason": ""}},
    }
    assert health.ready(ALONE, replica=True)["ready"]


@pytest.mark.parametrize(
    ("served", "why"),
    [
        (None, "not been asked"),
        (Served(99.5, error="refused"), "refused"),
        (Served(99.5, in_recovery=True), "takes no writes"),
        (Served(100.0 - FRESH - 0.1, writable=True), "last asked 2.1 s ago"),
    ],
)
def test_not_ready_without_one(served: Served | None, why: str) -> None:
    found = health.ready(replace(ALONE, instances={50001: replace(FINE, leader_pool=served)}))
    assert not found["ready"]
    assert why in found["reason"]
    assert why in found["instances"]["50001"]["reason"]


def test_one_instance_that_serves_is_enough() -> None:
    dead = Instance(Console(50002, 6432), error="Connection refused")
    found = health.ready(replace(ALONE, instances={50001: FINE, 50002: dead}))
    assert found["ready"]
    assert found["instances"]["50002"] == {"ready": False, "reason": "Connection refused"}


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"draining": True}, "draining"),
        ({"operators": frozenset({"*"})}, "paused by an operator"),
        ({"state": State(Server("a"), pause=Pause("loss", 110.0))}, "paused by the agent: loss"),
        ({"state": State()}, "no leader is known"),
        ({"state": State(Server("a"), lost=97.0)}, "takes no writes for 3.0 s"),
        ({"by_hand": {50001: frozenset({"*"})}}, "paused by hand: *"),
    ],
)
def test_not_ready_when_clients_would_wait(more: dict[str, object], why: str) -> None:
    found = health.ready(replace(ALONE, **more))  # type: ignore[arg-type]
    assert not found["ready"]
    assert why in found["reason"]


def test_replicas_serve_also_while_there_is_no_leader() -> None:
    lost = replace(ALONE, state=State(Server("a"), lost=97.0, pause=Pause("loss", 110.0)))
    assert health.ready(lost, replica=True)["ready"]
    by_leader = replace(FINE, replica_pool=Served(99.5, writable=True))
    assert not health.ready(replace(ALONE, instances={50001: by_leader}), replica=True)["ready"]


def test_without_anybody_to_follow_the_pool_alone_decides() -> None:
    assert health.ready(replace(ALONE, state=State(), follows=False))["ready"]


def test_status_says_who_paused_and_until_when() -> None:
    found = health.status(replace(ALONE, state=State(Server("::1"), pause=Pause("switchover", 104.5)), held=3.0))
    assert found["pause"] == {"reason": "switchover", "until": 1e9 + 4.5}
    assert found["held_for"] == 3.0
    assert found["leader"] == "[::1]:5432"


@given(st.frozensets(st.sampled_from(["*", "a", "b"])), st.frozensets(st.sampled_from(["*", "a", "b"])))
def test_a_pause_of_everything_by_operators_explains_every_pause(paused: frozenset[str], by: frozenset[str]) -> None:
    left = paused - explained(paused, by)
    assert left == (frozenset() if "*" in by else paused - by)
