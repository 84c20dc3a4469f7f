"""What troubles may use: the fleet, its monitoring, clients."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.drills.fleet import Fleet
from tests.drills.seeing.asked import Monitoring
from tests.drills.seeing.holders import Holders, holding
from tests.lab import images, network

LAB = {
    "name": "seeing",
    "subnet": "10.89.97.0/24",
    "hosts": {
        "db1": {"groups": ["database"], "images": ["etcd", "spilo", "monitoring"]},
        "db2": {"groups": ["database"], "images": ["etcd", "spilo", "monitoring"]},
        "pool1": {"groups": ["pooler"], "images": ["pooler", "monitoring"]},
        "mon1": {"groups": ["monitoring"], "images": ["monitoring"]},
    },
}
POOLER = "pool1"
DATABASES = ("db1", "db2")
FIRST, SECOND = 50001, 50002

VARIABLES = {
    "database_orders_from": ["10.89.97.0/24"],
    **dict.fromkeys(
        (
            "monitoring_prometheus_image",
            "monitoring_alertmanager_image",
            "exporters_node_image",
            "exporters_postgres_image",
        ),
        images.monitoring.REFERENCE,
    ),
    # No Grafana can be had; what it would ask is asked of Prometheus.
    "monitoring_grafana": False,
    "monitoring_interval": "3s",
    "monitoring_alerts_for": "2s",
}


@dataclass(frozen=True)
class Scene:
    """`wrong` is what went otherwise than it should, for the terminal."""

    fleet: Fleet
    monitoring: Monitoring
    wrong: list[str] = field(default_factory=list)

    def play(self, playbook: str, limit: str = POOLER, **changes: object) -> None:
        """A playbook that must succeed."""
        play = self.fleet.play(playbook, changes, limit)
        if play.status:
            self.wrong.append(f"{playbook} with {sorted(changes)} failed: {play.output[-2000:]}")

    def pooler(self, **changes: object) -> None:
        """The pgbouncer role, with these variables besides the fleet's."""
        play = self.fleet.role(changes)
        if play.status:
            self.wrong.append(f"the role with {sorted(changes)} failed: {play.output[-2000:]}")

    def console(self, console: int, statement: str) -> None:
        socket = f"-h /run/pgbouncer/{console} -p 6432 -U pgbouncer -d pgbouncer"
        self.fleet.sh(POOLER, f"podman exec pgbouncer-{console} psql -X {socket} -c '{statement}'")

    def sql(self, host: str, statement: str) -> str:
        return self.fleet.sh(host, f'podman exec spilo psql -XAtq -U postgres -d postgres -c "{statement}"')

    def clients(self, count: int, *, begin: bool = True) -> contextlib.AbstractContextManager[None]:
        """Of the pool, from the controller's side."""
        lab = self.fleet.paths.lab
        return holding(self._holders(network.lab_namespace(lab), POOLER, 6432, count, begin))

    def clients_of_first(self, count: int) -> contextlib.AbstractContextManager[None]:
        """Idle ones, all of one instance, by the port that it has for itself on the loopback."""
        inside = network.host_namespace(self.fleet.paths.lab, POOLER)
        return holding(self._holders(inside, "127.0.0.1", FIRST, count, False))

    def node(self, query: str) -> str:
        """The label `node` of the query's one answer."""
        (found,) = self.monitoring.ask([query])[0]
        return found.labels["node"]

    def _holders(self, namespace: str, host: str, port: int, count: int, begin: bool) -> Holders:
        return Holders(namespace, host, port, self.fleet.password, str(self.fleet.authority), count, begin)


Trouble = Callable[[Scene], contextlib.AbstractContextManager[None]]
