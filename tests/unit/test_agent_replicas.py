"""Which replicas serve, and that one that wavers does not come and go."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pooler.agent.replicas import JOIN_SECONDS, Serving, fit, host_list, serving
from pooler.patroni import Member
from pooler.server import Server

A, B, C = Server("a"), Server("b"), Server("c")
SERVERS = st.frozensets(st.sampled_from([A, B, C, Server("d", 5433)]))


def member(**more: object) -> Member:
    given: dict[str, object] = {"name": "a", "role": "replica", "state": "streaming", "host": "a", "lag": 0, **more}
    return Member(**given)  # type: ignore[arg-type]


@pytest.mark.parametrize("role", ["replica", "sync_standby", "quorum_standby"])
@pytest.mark.parametrize("state", ["running", "streaming"])
def test_every_kind_of_replica_may_serve(role: str, state: str) -> None:
    assert fit([member(role=role, state=state, lag=10)], 10) == {A}


@pytest.mark.parametrize(
    "more",
    [
        {"role": "leader"},
        {"role": "standby_leader"},
        {"state": "starting"},
        {"lag": 11},
        {"lag": None},
        {"host": ""},
        {"tags": {"noloadbalance": True}},
    ],
)
def test_who_leads_lags_or_is_not_up_does_not_serve(more: dict[str, object]) -> None:
    assert fit([member(**more)], 10) == frozenset()


def test_a_replica_that_never_leads_serves_all_the_same() -> None:
    assert fit([member(tags={"nofailover": True})], 10) == {A}


def test_the_first_serves_at_once_and_others_when_they_have_been_fit_for_a_while() -> None:
    first = serving(Serving(), frozenset({A}), [A], 0.0)
    assert first.servers == (A,)
    both = serving(first, frozenset({A, B}), [A, B], 1.0)
    assert both.servers == (A,)
    assert serving(both, frozenset({A, B}), [A, B], 1.0 + JOIN_SECONDS).servers == (A, B)


def test_a_replica_that_wavers_begins_to_wait_anew() -> None:
    state = serving(Serving(), frozenset({A}), [A], 0.0)
    for now in range(1, 20):
        fine = now % 2 == 0
        state = serving(state, frozenset({A, B}), [A, B] if fine else [A], float(now))
        assert state.servers == (A,)


def test_who_is_gone_leaves_at_once() -> None:
    assert serving(Serving((A, B)), frozenset({A, B}), [B], 0.0).servers == (B,)
    assert serving(Serving((A, B)), frozenset({B}), [A, B], 0.0).servers == (B,)


def test_while_patroni_is_silent_nobody_joins_and_sql_says_who_stays() -> None:
    assert serving(Serving((A, B)), None, [A, C], 9.0).servers == (A,)


def test_servers_with_another_port_cannot_be_in_the_same_list() -> None:
    other = Server("d", 5433)
    assert serving(Serving((A, B, other)), frozenset({A, B, other}), [A, B, other], 0.0).servers == (A, B)


@given(SERVERS, SERVERS, st.one_of(st.none(), SERVERS))
def test_only_servers_in_recovery_serve_sorted_and_with_one_port(
    before: frozenset[Server], alive: frozenset[Server], named: frozenset[Server] | None
) -> None:
    found = serving(Serving(tuple(before)), named, alive, 5.0).servers
    assert set(found) <= alive
    assert named is None or set(found) <= named
    assert list(found) == sorted(found, key=lambda server: server.host)
    assert len({server.port for server in found}) <= 1


def test_a_list_is_written_as_the_engine_reads_it_and_the_leader_falls_in_by_choice() -> None:
    assert host_list((A, B), C, fallback=True) == Server("a,b", 5432)
    assert host_list((), C, fallback=True) == C
    assert host_list((), C, fallback=False) is None
    assert host_list((), None, fallback=True) is None


@given(
    st.sets(st.sampled_from([Server(f"10.0.0.{number}", 5432) for number in range(6)]), min_size=1), st.integers(0, 99)
)
def test_a_host_of_one_replica_keeps_it_as_long_as_it_serves(servers: set[Server], number: int) -> None:
    name = f"pool{number}"
    chosen = host_list(servers, None, fallback=False, one_for=name)
    assert chosen in servers
    for gone in servers - {chosen}:
        assert host_list(servers - {gone}, None, fallback=False, one_for=name) == chosen


def test_hosts_of_one_replica_share_them() -> None:
    found = {host_list((A, B), None, fallback=False, one_for=f"pool{number}") for number in range(20)}
    assert found == {A, B}
