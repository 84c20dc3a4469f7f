"""The events of the drill, and what ours must reach in each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from . import events, ours
from .peers import HAPROXY, POLLER
from .scene import OURS, Scene

ORPHANED = 60.0
"""Seconds after which the agent must have ended a pause that nobody owns."""

ALL = (OURS, HAPROXY, POLLER)


@dataclass(frozen=True)
class Row:
    """`beyond`: the most by which our stall may exceed the floor, in seconds. `each`: the most errors of one worker.

    `middle`: the most errors that half of the runs may have. `healed`: the most seconds from the event to the last
    error. `wait`: the most seconds that one client may wait. None: no goal. Nothing may ever be lost.

    `lost`: agents see the leader go, and make clients wait.
    """

    name: str
    event: Callable[[Scene], None]
    designs: tuple[str, ...] = ALL
    work: str = "write"
    beyond: float | None = None
    each: int | None = None
    middle: int | None = None
    healed: float | None = None
    wait: float | None = None
    lost: bool = False

    @property
    def slug(self) -> str:
        """As `--events` takes it."""
        return self.name.replace(" ", "-")


ROWS = (
    Row("switchover", ours.switchover, beyond=0.1, each=0),
    Row("20 switchovers", ours.switchovers_in_a_row, designs=(OURS,), each=0),
    Row("switchover by REST", events.switchover_by_rest),
    Row("leader killed", events.leader_killed, beyond=0.5, each=1, middle=5, lost=True),
    Row("leader partitioned", events.leader_partitioned, beyond=0.5, each=1, middle=5, lost=True),
    Row("PostgreSQL crashed", events.postgresql_crashed, beyond=0.5, each=1, middle=5, lost=True),
    Row("leader cut off from etcd", events.leader_cut_off),
    Row("etcd away", events.etcd_away, each=0),
    Row("Patroni silent", events.patroni_silent, each=0),
    Row("agents killed", ours.agents_killed, designs=(OURS,), beyond=0.5, each=0),
    Row("killed in mid-switchover", ours.killed_in_mid_switchover, designs=(OURS,), wait=ORPHANED, each=0),
    Row("pointed at a replica", ours.pointed_at_a_replica, designs=(OURS,), healed=2.0),
    Row("replica killed", events.replica_killed, work="read", each=1, healed=3.0),
)
# Ours alone: what the others feel is no promise of ours.
SHORT = tuple(replace(row, designs=(OURS,)) for row in ROWS if row.name in ("switchover", "leader killed"))
