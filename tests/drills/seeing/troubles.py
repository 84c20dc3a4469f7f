"""The trouble of each alert, caused for real, and put right by what its runbook says."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from .scene import DATABASES, FIRST, POOLER, SECOND, Scene, Trouble

_SLOTS = 10
"""Server connections of a pool of one instance."""


@contextlib.contextmanager
def instance_stopped(scene: Scene) -> Iterator[None]:
    units = f"pgbouncer@{SECOND}.socket pgbouncer@{SECOND}.service"
    scene.fleet.sh(POOLER, f"systemctl stop {units}")
    yield
    scene.fleet.sh(POOLER, f"systemctl start {units}")


@contextlib.contextmanager
def instance_frozen(scene: Scene) -> Iterator[None]:
    scene.fleet.sh(POOLER, f"podman kill --signal STOP pgbouncer-{SECOND}")
    yield
    scene.fleet.sh(POOLER, f"podman kill --signal CONT pgbouncer-{SECOND}")


@contextlib.contextmanager
def pool_full(scene: Scene) -> Iterator[None]:
    with scene.clients(3 * _SLOTS):
        yield


@contextlib.contextmanager
def postgresql_stopped(scene: Scene) -> Iterator[None]:
    for host in DATABASES:
        scene.fleet.sh(host, "systemctl stop spilo")
    yield
    for host in DATABASES:
        scene.fleet.sh(host, "systemctl start --no-block spilo")


@contextlib.contextmanager
def pointed_at_a_replica(scene: Scene) -> Iterator[None]:
    """The agent would put it right at once, so somebody else has the lock that whoever writes the hosts file takes."""
    replica = scene.node("patroni_replica == 1")
    address = scene.fleet.sh(replica, "hostname -I").split()[0]
    hosts = "/etc/pgbouncer/databases"
    lock = "systemd-run --quiet --unit=drill-lock"
    scene.fleet.sh(
        POOLER,
        f"{lock} flock {hosts} sleep 600; until ! flock -n {hosts} true; do sleep 0.1; done\n"
        f"sed -i 's/host=[0-9.]*/host={address}/; s/host = [0-9.]*/host = {address}/' {hosts}/databases.ini",
    )
    for console in (FIRST, SECOND):
        scene.console(console, "RELOAD")
        scene.console(console, "RECONNECT")
    yield
    scene.fleet.sh(POOLER, "systemctl stop drill-lock")


@contextlib.contextmanager
def paused_by_hand(scene: Scene) -> Iterator[None]:
    scene.console(FIRST, "PAUSE app")
    yield
    scene.console(FIRST, "RESUME app")


@contextlib.contextmanager
def another_release(scene: Scene) -> Iterator[None]:
    """Files are put in place, and no instance is told."""
    release = "was=$(readlink current); cp -a $was releases/drill; ln -s $was was"
    scene.fleet.sh(POOLER, f"cd /etc/pgbouncer; {release}; ln -sfn releases/drill current")
    yield
    scene.fleet.sh(POOLER, "cd /etc/pgbouncer; mv -T was current; rm -r releases/drill")


@contextlib.contextmanager
def leaves_of_a_day(scene: Scene) -> Iterator[None]:
    """All of the fleet, those of who looks at it too."""
    scene.play("pgfleet.pooler.rotate_certificates", "all", rotate_certificates="leaves", certificates_days=1)
    yield
    scene.play("pgfleet.pooler.rotate_certificates", "all", rotate_certificates="leaves")


@contextlib.contextmanager
def few_descriptors(scene: Scene) -> Iterator[None]:
    scene.pooler(pgbouncer_nofile=128, pgbouncer_settings={"max_client_conn": 400})
    with scene.clients_of_first(106):
        yield
    scene.pooler()


@contextlib.contextmanager
def pools_too_large(scene: Scene) -> Iterator[None]:
    scene.pooler(pgbouncer_databases=[{"name": "app", "pool_size": 250}])
    with scene.clients(4):
        yield
    scene.pooler()


@contextlib.contextmanager
def exporter_stopped(scene: Scene) -> Iterator[None]:
    scene.fleet.sh(DATABASES[0], "systemctl stop postgres-exporter")
    yield
    scene.fleet.sh(DATABASES[0], "systemctl start postgres-exporter")


@contextlib.contextmanager
def replay_stopped(scene: Scene) -> Iterator[None]:
    """By a signal to the process that replays: a replay that is paused is resumed by Patroni."""
    replica, leader = scene.node("patroni_replica == 1"), scene.node("patroni_primary == 1")
    startup = "$(ps -C postgres -o pid=,args= | awk '/startup recovering/ { print $1 }')"
    scene.sql(leader, "CREATE TABLE drill (at timestamptz DEFAULT now())")
    scene.fleet.sh(replica, f"kill -STOP {startup}")
    scene.sql(leader, "INSERT INTO drill DEFAULT VALUES")
    yield
    scene.fleet.sh(replica, f"kill -CONT {startup}")
    scene.sql(leader, "DROP TABLE drill")


@contextlib.contextmanager
def client_that_stays(scene: Scene) -> Iterator[None]:
    with ThreadPoolExecutor(1) as pool:
        with scene.clients(1, begin=False):
            taken_out = pool.submit(scene.play, "pgfleet.pooler.drain", pgbouncer_drain_timeout=600)
            yield
        taken_out.result()
    scene.pooler()


@dataclass(frozen=True)
class Case:
    """An alert by one trouble, in words. Each of `selectors`, in PromQL, has to have one that fires, and none then."""

    alert: str
    trouble: Trouble
    words: str
    selectors: tuple[str, ...] = ("",)


_EXPIRING = (
    f'node="{POOLER}"',
    'server=~".+:5432"',
    'server=~".+:8008"',
    'file=~".+/etcd/.+"',
    'file=~".+/prometheus/.+"',
)

CASES = (
    Case("InstanceDown", instance_stopped, "`systemctl stop` of an instance"),
    Case("ClientsWaiting", pool_full, "30 transactions for 10 connections of each instance"),
    Case("PoolSaturated", pool_full, "30 transactions for 10 connections of each instance"),
    Case("PausedTooLong", paused_by_hand, "PAUSE at a console"),
    Case("ReloadFailed", another_release, "another release under the link, and no RELOAD"),
    Case("ExporterSilent", exporter_stopped, "`systemctl stop postgres-exporter`"),
    Case("ReplicaLag", replay_stopped, "the process that replays is stopped, and writes"),
    Case("CertificateExpiring", leaves_of_a_day, "all leaves of the fleet valid for a day", _EXPIRING),
    Case("PoolsAboveMaxConnections", pools_too_large, "pool_size 250, max_connections 200"),
    Case("DescriptorsNearLimit", few_descriptors, "106 clients of an instance with 128 descriptors"),
    Case("PoolReadOnly", pointed_at_a_replica, "the hosts file points at a replica, locked"),
    Case("DrainStuck", client_that_stays, "drain with a client that stays"),
    Case("LeaderUnknown", postgresql_stopped, "`systemctl stop spilo` on all database hosts"),
)
"""In the order in which they are caused."""
