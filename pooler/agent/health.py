"""What the agent answers to those who ask how the host is: pure functions of one picture of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..server import Server
from .decide import State
from .instances import Instance, Served
from .members import Answer
from .replicas import Serving
from .rest import View


@dataclass(frozen=True)
class Picture:
    """Everything at one time. `now` is on time.monotonic, as all times; `epoch` is the same by the wall clock.

    `operators` are the databases that operators have paused, `by_hand` those of each instance that nobody has whom we
    know. `follows` is False for an agent that points nothing. `held` are the seconds for which its following rests.
    """

    now: float
    epoch: float
    state: State
    instances: Mapping[int, Instance]
    follows: bool = True
    held: float | None = None
    draining: bool = False
    operators: frozenset[str] = frozenset()
    by_hand: Mapping[int, frozenset[str]] = field(default_factory=dict)
    serving: Serving = field(default_factory=Serving)
    answers: Mapping[Server, Answer] = field(default_factory=dict)
    views: Mapping[str, View] = field(default_factory=dict)
    trouble: str = ""


def ready(picture: Picture, *, replica: bool = False) -> dict[str, Any]:
    """The answer to GET /ready, or /ready/replica: whether a client that comes now is served, and why not."""
    instances = {name: _instance(picture, name, replica=replica) for name in picture.instances}
    reason = _host(picture, replica=replica)
    if not reason and all(instances.values()):
        reason = "no instance serves: " + "; ".join(f"{name}: {why}" for name, why in instances.items())
    return {
        "ready": not reason,
        "reason": reason,
        "leader": spelled(picture.state.leader),
        "instances": {str(name): {"ready": not why, "reason": why} for name, why in instances.items()},
    }


def status(picture: Picture) -> dict[str, Any]:
    """The answer to GET /status: everything that is known."""
    state, now = picture.state, picture.now
    return {
        **ready(picture),
        "confirmed": state.confirmed,
        "lost_for": None if state.lost is None else round(now - state.lost, 3),
        "held_for": None if picture.held is None else round(picture.held, 3),
        "draining": picture.draining,
        "pause": None
        if state.pause is None
        else {"reason": state.pause.reason, "until": round(picture.epoch + state.pause.until - now, 3)},
        "paused_by_operators": sorted(picture.operators),
        "paused_by_hand": {str(name): sorted(names) for name, names in picture.by_hand.items() if names},
        "replicas": [spelled(server) for server in picture.serving.servers],
        "servers": {spelled(server): _answer(answer, now) for server, answer in picture.answers.items()},
        "patroni": {url: _view(view, now) for url, view in picture.views.items()},
        "trouble": picture.trouble,
    }


def spelled(server: Server | None) -> str | None:
    return None if server is None else str(server)


def _host(picture: Picture, *, replica: bool) -> str:
    """What keeps the whole host from serving, or an empty text."""
    if picture.draining:
        return "draining: the host is being taken out"
    if "*" in picture.operators:
        return "paused by an operator"
    if replica:
        return ""
    if picture.state.pause:
        return f"paused by the agent: {picture.state.pause.reason}"
    if picture.follows and picture.state.leader is None:
        return "no leader is known"
    if picture.follows and picture.state.lost is not None:
        return f"the leader takes no writes for {picture.now - picture.state.lost:.1f} s"
    return ""


def _instance(picture: Picture, name: int, *, replica: bool) -> str:
    """What keeps an instance from serving, or an empty text."""
    instance = picture.instances[name]
    if instance.facts is None:
        return instance.error
    by_hand = picture.by_hand.get(name)
    if by_hand:
        return f"paused by hand: {', '.join(sorted(by_hand))}"
    served = instance.replica_pool if replica else instance.leader_pool
    return _served(served, picture.now, replica=replica)


def _served(served: Served | None, now: float, *, replica: bool) -> str:
    if served is None:
        return "has no database for replicas" if replica else "has not been asked through its pool"
    if served.error:
        return served.error
    if not served.fresh(now):
        return f"its pool was last asked {now - served.at:.1f} s ago"
    if replica and not served.in_recovery:
        return "its pool for replicas reaches a server that is none"
    if not replica and not served.writable:
        return "its pool reaches a server that takes no writes"
    return ""


def _answer(answer: Answer, now: float) -> dict[str, Any]:
    return {
        "writable": answer.word.writable if answer.word else None,
        "timeline": answer.word.timeline if answer.word else None,
        "misses": answer.misses,
        "age": None if answer.at is None else round(now - answer.at, 3),
        "error": answer.error if answer.word is None else "",
    }


def _view(view: View, now: float) -> dict[str, Any]:
    members = view.cluster.members if view.cluster else ()
    return {
        "age": round(now - view.at, 3),
        "leader": next((spelled(member.server) for member in members if member.leads), None),
        "error": view.error,
    }
