"""What is done to the fleet. Each function does it, marks it, sees its end, and leaves the cluster whole again."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor

from tests.lab import cgroups, hosts, life, network

from .scene import Scene
from .watch import Watch, together, writable_since

ETCD_AWAY = 120.0
REST_AWAY = 30.0
"""Seconds. In the short form a fourth of it."""


def switchover_by_rest(scene: Scene) -> None:
    """As anybody does it who knows Patroni alone; the poolers are told nothing."""
    old, new = scene.watch.leader, scene.watch.in_role("sync_standby")[0]
    scene.begin(f"switchover from {old} to {new}")
    scene.watch.switch_over(old, new)
    scene.at = scene.watch.posted or scene.at
    _follow(scene)
    settle(scene)


def leader_killed(scene: Scene) -> None:
    """Every process of the host ends at once; the kernel closes their connections."""
    leader, lab = scene.watch.leader, scene.lab.name
    scene.begin(f"{leader} killed")
    cgroups.end(cgroups.host_cgroup(lab, leader))
    _follow(scene)
    _again(scene)
    life.boot(lab, leader)
    settle(scene)


def leader_partitioned(scene: Scene) -> None:
    """Its cable is out: silence."""
    leader, lab = scene.watch.leader, scene.lab.name
    scene.begin(f"{leader} partitioned")
    network.set_link(lab, leader, up=False)
    try:
        _follow(scene)
        _again(scene)
    finally:
        network.set_link(lab, leader, up=True)
    settle(scene)


def postgresql_crashed(scene: Scene) -> None:
    """SIGKILL to its first process; Patroni starts it again where it is."""
    leader = scene.watch.leader
    scene.begin(f"PostgreSQL of {leader} crashed")
    inside(scene, leader, "kill -9 $(pgrep -o -x postgres)")
    _follow(scene)
    settle(scene)


def leader_cut_off(scene: Scene) -> None:
    """It reaches neither etcd nor the other members, and clients still reach it."""
    leader, lab = scene.watch.leader, scene.lab.name
    others = [address for name, address in scene.watch.members.addresses.items() if name != leader]
    namespace = network.host_namespace(lab, leader)
    scene.begin(f"{leader} cut off from etcd")
    _routes(namespace, "add", others)
    try:
        _follow(scene)
        _again(scene)
        scene.watch.until(f"{leader} is no leader any more", lambda watch: watch.states[leader] != "writable")
    finally:
        _routes(namespace, "delete", others)
    settle(scene)
    scene.extra["two leaders by SQL, s"] = together(scene.watch.changes, scene.at)


def etcd_away(scene: Scene) -> None:
    everywhere = list(scene.watch.members.addresses)
    scene.begin("etcd stopped")
    on_each(scene, everywhere, "systemctl stop etcd")
    _for(scene, ETCD_AWAY)
    on_each(scene, everywhere, "systemctl start etcd")
    scene.loads.mark("etcd started")
    settle(scene)
    scene.floor = scene.without_leader()


def patroni_silent(scene: Scene) -> None:
    """Nobody answers on its port; it goes on doing its work."""
    everywhere = list(scene.watch.members.addresses)
    scene.begin("Patroni's port closed")
    on_each(scene, everywhere, _CLOSE)
    try:
        _for(scene, REST_AWAY)
    finally:
        on_each(scene, everywhere, "nft delete table inet drill")
    scene.loads.mark("Patroni's port open")
    settle(scene)
    scene.floor = scene.without_leader()


_CLOSE = """
nft 'table inet drill { chain input { type filter hook input priority 0; iif != lo tcp dport 8008 drop; }; }'
"""


def replica_killed(scene: Scene) -> None:
    """Of the replicas the one that everybody reads from who reads from one only."""
    lab, addresses = scene.lab.name, scene.watch.members.addresses
    victim = min((name for name in addresses if name != scene.watch.leader), key=lambda name: addresses[name])
    scene.begin(f"replica {victim} killed")
    cgroups.end(cgroups.host_cgroup(lab, victim))
    scene.watch.until(f"{victim} is down", lambda watch: watch.states[victim] == "down")
    _again(scene)
    life.boot(lab, victim)
    settle(scene)
    scene.floor = 0.0


def _follow(scene: Scene) -> None:
    """A server takes writes that did not when the event began, or not any more."""
    scene.watch.until("a server takes writes", lambda watch: writable_since(watch.changes, scene.at) is not None)
    new = writable_since(scene.watch.changes, scene.at)
    assert new
    scene.followed = new

    def acknowledged(watch: Watch) -> float | None:
        return next((at for at, member in watch.acknowledged if member == new.member and at >= new.at), None)

    scene.watch.until("a commit is acknowledged", lambda watch: acknowledged(watch) is not None)
    scene.floor = (acknowledged(scene.watch) or 0.0) - scene.at
    scene.extra["takes writes after, s"] = new.at - scene.at
    scene.loads.mark(f"{new.member} acknowledges a commit after {scene.floor:.2f} s")


def _again(scene: Scene) -> None:
    """Every client has had a success again, or is known not to get one."""
    for design, reached in scene.loads.again().items():
        if not reached:
            scene.wrong.append(f"{design}: some clients have had no success again")


def settle(scene: Scene) -> None:
    scene.watch.until("the cluster is whole", Watch.whole)
    scene.loads.mark("the cluster is whole")
    _again(scene)


def _for(scene: Scene, seconds: float) -> None:
    """How long a state lasts that is itself the event."""
    threading.Event().wait(seconds / 4 if scene.short else seconds)


def on_each(scene: Scene, names: Sequence[str], script: str) -> dict[str, str]:
    """What the script printed on each of the hosts, at the same time."""
    with ThreadPoolExecutor() as pool:
        return dict(zip(names, pool.map(lambda name: inside(scene, name, script), names), strict=True))


def inside(scene: Scene, host: str, script: str) -> str:
    """As root, without a way over the network. Raises SystemExit with its last words when it fails."""
    command = hosts.enter(scene.lab.name, host, ["sh", "-euc", script])
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{host}: {script.strip()}: {done.stderr[-2000:]}")
    return done.stdout


def _routes(namespace: str, action: str, addresses: Iterable[str]) -> None:
    lines = "".join(f"route {action} blackhole {address}/32\n" for address in addresses)
    subprocess.run(["ip", "-n", namespace, "-batch", "-"], input=lines, text=True, check=True)
