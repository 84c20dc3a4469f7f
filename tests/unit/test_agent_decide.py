"""Whom the agent follows and when it makes clients wait, whatever is seen in whatever order."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from pooler.agent.decide import PATIENCE, PAUSES, WINDOW, Pause, Rules, Seen, State, Word, decide
from pooler.server import Server

A, B, C = Server("a"), Server("b"), Server("c")
RULES = Rules(pause_limit=10.0)

WORDS = st.builds(Word, st.booleans(), st.integers(1, 4))
SEEN = st.builds(
    Seen,
    now=st.just(0.0),
    named=st.frozensets(st.sampled_from([A, B, C]), max_size=2),
    members=st.frozensets(st.sampled_from([A, B, C])),
    words=st.dictionaries(st.sampled_from([A, B, C]), WORDS),
    misses=st.integers(0, 4),
    pointed=st.sampled_from([None, A, B, C]),
)
HISTORIES = st.lists(st.tuples(st.floats(0.01, 5.0), SEEN), max_size=60)


def at(now: float, **more: object) -> Seen:
    return replace(Seen(now), **more)  # type: ignore[arg-type]


def led_by(server: Server, now: float, timeline: int = 1) -> Seen:
    return at(
        now,
        named=frozenset({server}),
        members=frozenset({A, B, C}),
        words={server: Word(True, timeline)},
        pointed=server,
    )


def test_a_leader_is_who_patroni_names_and_who_takes_writes() -> None:
    named = at(0.0, named=frozenset({A}), members=frozenset({A, B}), words={A: Word(False)})
    assert decide(State(), named, RULES).state.leader is None
    writable = replace(named, words={A: Word(True, 1), B: Word(True, 9)})
    assert decide(State(), writable, RULES).state.leader == A


def test_the_last_leader_stays_while_nobody_else_is_seen() -> None:
    assert decide(State(A, confirmed=True), at(5.0, misses=9), RULES).state.leader == A


def test_an_orphaned_switchover_is_waited_for_since_patroni_may_have_its_order() -> None:
    orphan = State(B, pause=Pause("switchover", 60.0)).orphaned(1.0)
    still = decide(orphan, led_by(A, 1.1), RULES)
    assert (still.state.leader, still.resume) == (B, False)
    done = decide(still.state, led_by(B, 3.0, timeline=2), RULES)
    assert (done.state.leader, done.resume) == (B, True)
    never = decide(still.state, led_by(A, 1.0 + PATIENCE), RULES)
    assert (never.state.leader, never.resume) == (A, True)


def test_an_orphaned_pause_ends_at_once_when_no_other_leader_was_announced() -> None:
    orphan = State(A, pause=Pause("switchover", 60.0)).orphaned(1.0)
    assert decide(orphan, led_by(A, 1.1), RULES).resume


def test_a_pause_by_loss_is_no_orphan() -> None:
    lost = State(A, confirmed=True, lost=0.0, pause=Pause("loss", 60.0)).orphaned(1.0)
    assert decide(lost, led_by(B, 1.1, timeline=2), RULES).resume


def test_the_higher_timeline_wins_between_two_that_take_writes() -> None:
    both = at(0.0, named=frozenset({B}), members=frozenset({A, B}), words={A: Word(True, 3), B: Word(True, 4)})
    assert decide(State(A), both, RULES).state.leader == B
    stale = replace(both, named=frozenset({A}))
    assert decide(State(B), stale, RULES).state.leader == B


def test_a_server_that_left_the_cluster_is_left_whatever_its_timeline() -> None:
    seen = at(0.0, named=frozenset({B}), members=frozenset({B}), words={A: Word(True, 7), B: Word(True, 1)})
    assert decide(State(A), seen, RULES).state.leader == B


def test_two_misses_are_a_loss_and_one_is_none() -> None:
    known = decide(State(A), led_by(A, 0.0), RULES).state
    assert not decide(known, at(1.0, misses=1), RULES).pause
    lost = decide(known, at(1.0, misses=2), RULES)
    assert lost.pause
    assert lost.state.pause == Pause("loss", 11.0)


def test_a_pause_ends_when_the_file_points_at_a_leader_that_takes_writes_and_not_before() -> None:
    known = decide(State(A), led_by(A, 0.0), RULES).state
    lost = decide(known, at(1.0, misses=2), RULES).state
    elsewhere = replace(led_by(B, 2.0, 2), pointed=A)
    moved = decide(lost, elsewhere, RULES)
    assert (moved.state.leader, moved.resume) == (B, False)
    assert decide(moved.state, led_by(B, 2.1, 2), RULES).resume


def test_for_one_loss_clients_are_made_to_wait_once() -> None:
    known = decide(State(A), led_by(A, 0.0), RULES).state
    lost = decide(known, at(1.0, misses=2), RULES).state
    over = decide(lost, at(11.0, misses=50), RULES)
    assert over.resume
    assert not decide(over.state, at(12.0, misses=60), RULES).pause
    back = decide(over.state, led_by(A, 13.0), RULES).state
    assert decide(back, at(14.0, misses=2), RULES).pause


def test_who_was_never_seen_to_take_writes_is_not_paused_for() -> None:
    assert not decide(State(A), at(1.0, misses=5), RULES).pause


def test_no_pause_where_none_is_wanted() -> None:
    known = decide(State(A), led_by(A, 0.0), RULES).state
    assert not decide(known, at(1.0, misses=5), Rules(pause_on_loss=False)).pause


@given(st.lists(st.floats(0.1, 4.0), min_size=40, max_size=80))
def test_a_leader_that_comes_and_goes_pauses_clients_a_few_times_a_minute(steps: list[float]) -> None:
    state, now, pauses = decide(State(A), led_by(A, 0.0), RULES).state, 0.0, []
    for step in steps:
        now += step
        decision = decide(state, at(now, misses=2), RULES)
        if decision.pause:
            pauses.append(now)
        state = decide(decision.state, led_by(A, now + 0.05), RULES).state
        assert state.pause is None
    assert len(pauses) >= min(PAUSES, len(steps))
    assert all(later - first >= WINDOW for first, later in zip(pauses, pauses[PAUSES:], strict=False))


@settings(max_examples=400)
@given(HISTORIES, st.booleans())
def test_in_every_history(history: list[tuple[float, Seen]], confirmed: bool) -> None:
    state, now, began, pauses = State(A, confirmed=confirmed), 0.0, None, []
    for step, seen in history:
        now += step
        seen = replace(seen, now=now)
        before, decision = state, decide(state, seen, RULES)
        state = decision.state
        if state.leader != before.leader:
            # Never at a server that Patroni does not name or that does not take writes by SQL.
            assert state.leader in seen.named
            assert seen.writable(state.leader)
        if before.leader in seen.members and seen.writable(before.leader) and state.leader is not None:
            # Never back to an older timeline while the newer one takes writes.
            assert before.leader is not None
            assert seen.words[state.leader].timeline >= seen.words[before.leader].timeline
        assert not (decision.pause and decision.resume)
        if decision.pause:
            assert began is None
            began = now
            pauses.append(now)
        if decision.resume:
            assert began is not None
            began = None
        assert (began is not None) == (state.pause is not None)
        # A pause is over at its limit, at the first turn that comes then.
        assert began is None or now < began + RULES.pause_limit
        assert sum(1 for each in pauses if each > now - WINDOW) <= PAUSES


@given(SEEN, st.sampled_from([None, A, B, C]))
def test_the_same_sight_twice_moves_nobody_twice(seen: Seen, leader: Server | None) -> None:
    once = decide(State(leader), seen, RULES).state
    assert decide(once, seen, RULES).state.leader == once.leader
