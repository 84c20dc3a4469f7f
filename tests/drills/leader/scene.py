"""The lab of the drill: three database hosts, two pooler hosts, both peers, and the watch over the servers."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pooler import certificates
from pooler.drill.report import Report
from pooler.drill.settings import Settings
from tests.drills.fleet import Fleet, booted
from tests.drills.together import Loads
from tests.lab import spec, state

from . import peers
from .members import Members
from .watch import Change, Watch, longest_without

OURS = "ours"
LAB: Mapping[str, Any] = {
    "name": "drill-leader",
    "subnet": "10.77.35.0/24",
    "hosts": {
        **{name: {"groups": ["database"], "images": ["etcd", "spilo"]} for name in ("db1", "db2", "db3")},
        **{name: {"groups": ["pooler"], "images": ["pooler"]} for name in ("pool1", "pool2")},
    },
}
DATABASES = {OURS: "app", peers.HAPROXY: "haproxy", peers.POLLER: "poller"}
READING = "_ro"
"""What the name of a database for reads ends in."""

TTL = 20
"""Seconds that Patroni waits for a leader that is silent; it takes no less."""

VARIABLES: Mapping[str, Any] = {
    # Two hosts with two instances each: four server connections, twice the cores of the database, as the peers have.
    "pgbouncer_databases": [
        {"name": "app", "pool_size": 1},
        {"name": f"app{READING}", "dbname": "app", "pool_size": 1, "target": "replica"},
    ],
    "pgbouncer_agent": {"enabled": True},
    "pgbouncer_settings": {"log_connections": 0, "log_disconnections": 0},
    "postgresql_databases": [{"name": name, "owner": "app"} for name in DATABASES.values()],
    "spilo_ttl": TTL,
    "spilo_loop_wait": 5,
    "spilo_retry_timeout": 7,
    "spilo_configuration": {
        # The leader goes on without etcd as long as it reaches every member.
        "bootstrap": {"dcs": {"failsafe_mode": True}},
        # The drill orders switchovers from the controller's side as well.
        "restapi": {"allowlist": [LAB["subnet"]]},
    },
}


@dataclass
class Scene:
    """One run of an event: what it may use, and what it leaves behind.

    `at` is when the event began, in seconds since the epoch; `floor` what Patroni and PostgreSQL took by themselves;
    `followed` the server that began to take writes, where one did.
    """

    fleet: Fleet
    watch: Watch
    loads: Loads
    short: bool
    at: float = 0.0
    floor: float | None = None
    followed: Change | None = None
    extra: dict[str, float] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)

    @property
    def lab(self) -> spec.LabSpec:
        return state.read_spec(self.fleet.paths.lab)

    def begin(self, what: str) -> None:
        """The event happens now."""
        self.at = time.time()
        self.loads.mark(what)

    @property
    def poolers(self) -> list[str]:
        return [host.name for host in self.lab.hosts if "pooler" in host.groups]

    def without_leader(self) -> float:
        """The longest time since the event, in seconds, in which no server took writes."""
        return longest_without(self.watch.changes, self.at)

    def late(self, report: Report) -> float | None:
        """For how many seconds another server went on to acknowledge writes when the new leader took them; <= 0: none.

        None where no leader was followed, or the same one came back.
        """
        if not self.followed:
            return None
        new = self.address(self.followed.member)
        others = [served.last for server, served in report.served.items() if server != new]
        return max(others) + report.began - self.followed.at if others else None

    def address(self, host: str) -> str:
        return self.lab.host(host).address


@contextlib.contextmanager
def stage() -> Iterator[tuple[Fleet, Watch]]:
    """Booted and converged, peers and watch running."""
    with booted(LAB, VARIABLES) as fleet, on_stage(fleet) as watch:
        yield fleet, watch


@contextlib.contextmanager
def on_stage(fleet: Fleet) -> Iterator[Watch]:
    """Peers and watch, on a lab that is up."""
    lab = state.read_spec(fleet.paths.lab)
    servers = {host.name: host.address for host in lab.hosts if "database" in host.groups}
    leaf = _leaf(fleet, lab)
    given = peers.Given(
        lab=lab.name,
        servers=servers,
        user="app",
        password=fleet.password,
        directory=fleet.paths.directory / "peers",
        ca=fleet.authority.read_text(),
        certificate=leaf.certificate_pem,
        key=leaf.key_pem.decode(),
    )
    certificate, key = (fleet.paths.directory / f"drill.{kind}" for kind in ("crt", "key"))
    key.touch(mode=0o600)
    certificate.write_text(given.certificate)
    key.write_text(given.key)
    members = Members(
        servers, "app", fleet.password, "app", str(fleet.authority), certificate=str(certificate), key=str(key)
    )
    with peers.running(given):
        watch = Watch(lab.name, members)
        try:
            yield watch
        finally:
            watch.close()


def settings(fleet: Fleet, design: str, work: str, workers: int = 20) -> Settings:
    """Ours is reached on both pooler hosts, each peer where it runs. What hangs for a minute is hung."""
    reading = READING if work == "read" else ""
    return Settings(
        host=_HOSTS[design],
        port=peers.PORTS.get(design, 6432),
        user="app",
        database=DATABASES[design] + reading,
        password=fleet.password,
        ca=str(fleet.authority),
        workers=workers,
        worker_pause=0.1,
        back_off=0.1,
        work=work,
        logins=0,
        knocks=0,
        hung_after=60,
        warm_up=90,
    )


_HOSTS = {OURS: "pool1,pool2", peers.HAPROXY: "controller", peers.POLLER: "controller"}


def _leaf(fleet: Fleet, lab: spec.LabSpec) -> certificates.Leaf:
    """What the peers show to clients, and the watch to Patroni."""
    place = Path(fleet.variables["certificates_authority_directory"])
    key = certificates.unlock((place / "ca.key").read_bytes(), fleet.variables["certificates_passphrase"])
    authority = certificates.Authority((place / "ca.crt").read_text(), key)
    request = certificates.LeafRequest(
        common_name="drill",
        dns_names=("controller",),
        addresses=(lab.controller,),
        usages=frozenset({"server", "client"}),
        days=2,
    )
    return certificates.issue(authority, request, datetime.now(UTC))
