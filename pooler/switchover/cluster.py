"""What GET /cluster of Patroni's REST API says (Patroni 4.0; also 3.x, whose members and tags are the same)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from ..errors import PoolerError
from ..server import Server

LEADS = ("leader", "master", "primary")
SYNCHRONOUS = ("sync_standby", "quorum_standby")


@dataclass(frozen=True)
class Member:
    """`lag` is in bytes, None when Patroni does not know it. `host` is empty while the member has not said it."""

    name: str
    role: str
    state: str
    host: str = ""
    port: int = 5432
    api_url: str = ""
    timeline: int | None = None
    lag: int | None = None
    tags: Mapping[str, object] = field(default_factory=dict)

    @property
    def leads(self) -> bool:
        return self.role in LEADS

    @property
    def synchronous(self) -> bool:
        return self.role in SYNCHRONOUS

    @property
    def server(self) -> Server:
        return Server(self.host, self.port)

    @property
    def never_leads(self) -> bool:
        """Tagged so that Patroni never makes it the leader."""
        return bool(self.tags.get("nofailover")) or self.tags.get("failover_priority") == 0


@dataclass(frozen=True)
class Cluster:
    """`paused`: Patroni is in maintenance mode. `scheduled` tells of a switchover that is to come, or is empty."""

    members: tuple[Member, ...]
    paused: bool = False
    scheduled: str = ""

    def member(self, name: str) -> Member | None:
        return next((member for member in self.members if member.name == name), None)


def parse(text: str) -> Cluster:
    """Raises PoolerError for what is no answer to GET /cluster."""
    try:
        found = json.loads(text)
        scheduled = found.get("scheduled_switchover") or {}
        return Cluster(
            members=tuple(_member(member) for member in found["members"]),
            paused=bool(found.get("pause")),
            scheduled=" ".join(f"{key} {value}" for key, value in sorted(scheduled.items())),
        )
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise PoolerError(f"is not what Patroni answers to GET /cluster ({type(error).__name__}: {error})") from None


def _member(given: Mapping[str, object]) -> Member:
    lag, timeline, tags = given.get("lag"), given.get("timeline"), given.get("tags")
    return Member(
        name=str(given["name"]),
        role=str(given["role"]),
        state=str(given["state"]),
        host=str(given.get("host") or ""),
        port=int(str(given.get("port") or 5432)),
        api_url=str(given.get("api_url") or ""),
        timeline=timeline if isinstance(timeline, int) else None,
        lag=lag if isinstance(lag, int) else None,
        tags=dict(tags) if isinstance(tags, Mapping) else {},
    )
