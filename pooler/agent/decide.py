"""Whom to follow, and when to make clients wait: pure functions of what was known and what is seen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from ..server import Server

Reason = Literal["switchover", "loss"]

MISSES = 2
"""So many times in a row the leader must have been found not to take writes before it counts as lost."""

PATIENCE = 5.0
"""Seconds for which an orphaned switchover is waited for: Patroni may have its order, and the old leader does not show
it before it goes down."""

PAUSES = 3
WINDOW = 60.0
"""At most so many pauses by loss begin within so many seconds: a network that comes and goes is not made worse."""


@dataclass(frozen=True)
class Rules:
    """`pause_limit` in seconds."""

    pause_on_loss: bool = True
    pause_limit: float = 60.0


@dataclass(frozen=True)
class Word:
    """What a server has just said by SQL. `timeline` is 0 when it is in recovery."""

    writable: bool
    timeline: int = 0


@dataclass(frozen=True)
class Pause:
    """A pause that the agent has made. `until` is on the clock of `Seen.now`."""

    reason: Reason
    until: float


@dataclass(frozen=True)
class Seen:
    """`now` in seconds on any clock that never goes back.

    `named` are those whom an answer of Patroni that is not old calls the running leader, `members` all servers in such
    answers. `words` are of servers whose last answer by SQL is not old. `misses` counts how often in a row the leader
    of the state was silent or read-only. `pointed` is where the hosts file and every instance that answers point.
    """

    now: float
    named: frozenset[Server] = frozenset()
    members: frozenset[Server] = frozenset()
    words: Mapping[Server, Word] = field(default_factory=dict)
    misses: int = 0
    pointed: Server | None = None

    def writable(self, server: Server | None) -> bool:
        return server is not None and server in self.words and self.words[server].writable


@dataclass(frozen=True)
class State:
    """What is known of the leader.

    `confirmed`: it has been seen to take writes. `lost`: since when it does not. `spent`: for this loss clients have
    waited as long as they may, and do not again. `pauses`: when the last ones by loss began. `patient`: until when
    clients, in a pause for a switchover, wait for the leader that was announced, whoever else takes writes.
    """

    leader: Server | None = None
    confirmed: bool = False
    lost: float | None = None
    pause: Pause | None = None
    spent: bool = False
    pauses: tuple[float, ...] = ()
    patient: float = 0.0

    def orphaned(self, now: float) -> State:
        """Whoever has ordered the pause is gone."""
        return replace(self, patient=now + PATIENCE) if self.pause and self.pause.reason == "switchover" else self


@dataclass(frozen=True)
class Decision:
    """The next state; its leader is where everything is to point. `pause` and `resume` are to be done now."""

    state: State
    pause: bool = False
    resume: bool = False


def decide(state: State, seen: Seen, rules: Rules) -> Decision:
    """One turn."""
    leader = whom(state, seen)
    writable = seen.writable(leader)
    if leader != state.leader or writable:
        state = replace(
            state,
            leader=leader,
            confirmed=writable,
            lost=None,
            # A pause that ends by its bound just now stays the only one for this loss.
            spent=state.spent and not writable,
        )
    elif state.lost is None and seen.misses >= MISSES:
        state = replace(state, lost=seen.now)
    if state.pause:
        arrived = writable and seen.pointed == leader
        if arrived or seen.now >= state.pause.until:
            return Decision(replace(state, pause=None, spent=not writable), resume=True)
        return Decision(state)
    recent = tuple(begun for begun in state.pauses if begun > seen.now - WINDOW)
    if state.lost is not None and rules.pause_on_loss and state.confirmed and not state.spent and len(recent) < PAUSES:
        pause = Pause("loss", seen.now + rules.pause_limit)
        return Decision(replace(state, pause=pause, pauses=(*recent, seen.now)), pause=True)
    return Decision(state)


def whom(state: State, seen: Seen) -> Server | None:
    """The leader by what is seen: named by Patroni and writable by SQL; the one that is known until there is another.

    While the former one still takes writes, the higher timeline wins: a promotion always begins a new one.
    """
    current = state.leader
    if current is not None and state.pause and seen.now < state.patient:
        return current
    fit = {server for server in seen.named if seen.writable(server)}
    # A server that has left the cluster is no match for one that leads it, whatever its timeline.
    if current is not None and seen.writable(current) and (current in seen.members or not fit):
        fit.add(current)
    if not fit:
        return current
    return max(fit, key=lambda server: (seen.words[server].timeline, server == current, server.host, server.port))
