"""Members of a Patroni cluster that have to be restarted, in the order in which that harms nobody."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .errors import PoolerError

_STANDBY_NEEDS = frozenset(
    (
        "max_connections",
        "max_worker_processes",
        "max_wal_senders",
        "max_prepared_transactions",
        "max_locks_per_transaction",
    )
)
"""A replica must have as much of these as the leader has (PostgreSQL: hot standby, "Administrator's Overview")."""

_LEADS = ("leader", "standby_leader")
_WELL = ("running", "streaming")


@dataclass(frozen=True)
class Member:
    """One member, as GET /cluster and its own GET /patroni tell it.

    `url` is that of its REST API, without a path. `pending`: the settings that a restart brings into force, each with
    the value in force and the one to come; `due`: whether Patroni asks for a restart. `applied` is the dynamic
    configuration that the member has taken in, None when it could not be asked. One whose REST API does not answer has
    the state "silent".
    """

    name: str
    role: str
    state: str
    url: str = ""
    due: bool = False
    pending: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    applied: Mapping[str, Any] | None = None

    @property
    def leads(self) -> bool:
        return self.role in _LEADS

    @property
    def runs(self) -> bool:
        """PostgreSQL answers; whether it follows is another question."""
        return self.state in _WELL

    def why(self) -> str:
        """What the restart is for, in words."""
        changes = (f"{name} {old} -> {new}" for name, (old, new) in sorted(self.pending.items()))
        return ", ".join(changes) or "Patroni asks for it"


@dataclass(frozen=True)
class Cluster:
    """`config` is what is in etcd. `paused`: Patroni's maintenance mode."""

    config: Mapping[str, Any]
    members: tuple[Member, ...]
    paused: bool = False

    def behind(self) -> tuple[Member, ...]:
        """Members that run and have not taken in the configuration that is in etcd."""
        return tuple(member for member in self.members if member.runs and member.applied != self.config)


def parse(config: str, cluster: str, members: Mapping[str, str | None], applied: Mapping[str, str | None]) -> Cluster:
    """From GET /config, GET /cluster, and by name each member's GET /patroni and its patroni.dynamic.json.

    Raises PoolerError for what is not understood.
    """
    try:
        document = json.loads(cluster)
        found = tuple(
            _member(entry, members.get(entry["name"]), applied.get(entry["name"])) for entry in document["members"]
        )
        return Cluster(dict(json.loads(config)), found, bool(document.get("pause")))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise PoolerError(f"Patroni's answer is not understood ({type(error).__name__}: {error})") from None


def due(members: Sequence[Member]) -> tuple[Member, ...]:
    """Members to be restarted, in order: the replicas, the synchronous one last, then the leader.

    What the leader is to have less of and a replica must not have less of than it, a replica cannot take in before the
    leader has: replicas that are due for nothing else come after the leader.
    """
    waiting = [member for member in members if member.due]
    leaders = [member for member in waiting if member.leads]
    replicas = sorted((member for member in waiting if not member.leads), key=lambda each: (each.role, each.name))
    replicas.sort(key=lambda each: each.role != "replica")
    shrinking = {name for leader in leaders for name in _shrinking(leader)}
    later = [member for member in replicas if member.pending and shrinking.issuperset(member.pending)]
    return (*(member for member in replicas if member not in later), *leaders, *later)


def trouble(members: Sequence[Member], names: Collection[str] = (), least: int = 1) -> tuple[str, ...]:
    """Why no member may be restarted now, in words: nobody leads, or a replica does not follow.

    `names` are members that have to be there, `least` is how many there have to be.
    """
    return tuple(_trouble(members, names, least))


def _trouble(members: Sequence[Member], names: Collection[str], least: int) -> Iterator[str]:
    there = {member.name for member in members}
    if len(there) < least:
        yield f"there are {len(there)} members, not {least}"
    for name in sorted(set(names) - there):
        yield f"{name} is gone from the cluster"
    if not any(member.leads and member.state == "running" for member in members):
        yield "nobody leads"
    for member in members:
        if not member.leads and member.state != "streaming":
            yield f"{member.name} is {member.state}, not streaming"
        elif member.leads and member.state != "running":
            yield f"{member.name}, which leads, is {member.state}"


def _shrinking(member: Member) -> Iterator[str]:
    for name, (old, new) in member.pending.items():
        if name in _STANDBY_NEEDS and old.isdigit() and new.isdigit() and int(new) < int(old):
            yield name


def _member(entry: Mapping[str, Any], own: str | None, applied: str | None) -> Member:
    """What a member says of itself is newer than what it wrote into etcd in its last round."""
    said: Mapping[str, Any] = json.loads(own) if own else {"state": "silent"}
    newest = said if own else entry
    follows = "" if entry["role"] == "leader" else said.get("replication_state")
    reasons: Mapping[str, Any] = newest.get("pending_restart_reason") or {}
    return Member(
        name=str(entry["name"]),
        role=str(entry["role"]),
        state=str(follows or said["state"]),
        url=str(entry.get("api_url", "")).removesuffix("/patroni"),
        due=bool(newest.get("pending_restart")),
        pending={
            name.lower(): (str(reason.get("old_value")), str(reason.get("new_value")))
            for name, reason in reasons.items()
        },
        applied=json.loads(applied) if applied else None,
    )
