"""The events that `pooler drill` measures, and what to do for each of them where it cannot be done from here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Happening:
    """`todo` is what a person does now. `calm` is how many seconds without a sign of it mean that it is over."""

    todo: str
    calm: float = 10.0


LOAD = "load"
"""No event at all: the load alone, for its time."""

HAPPENINGS: Mapping[str, Happening] = {
    LOAD: Happening("", calm=0.0),
    "switchover": Happening(
        "make another member the leader: the playbook pgfleet.pooler.switchover, or patronictl switchover"
    ),
    "failover": Happening("end the leader's host: stop the instance by force, or `echo b > /proc/sysrq-trigger` on it"),
    "partition": Happening(
        "cut the leader's host off from everybody: an empty security group, or `ip link set DEVICE down`;\n"
        "  plug it in again when clients work again"
    ),
    "crash": Happening(
        "kill PostgreSQL where it leads: `podman exec spilo sh -c 'kill -9 $(head -n 1 $PGDATA/postmaster.pid)'`"
    ),
    "restart": Happening(
        "restart the instances of a pooler host one after the other: the role with a changed setting that is read at\n"
        "  start only, or the playbook pgfleet.pooler.upgrade",
        calm=45.0,
    ),
}
