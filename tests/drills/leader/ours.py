"""Events that only our design knows: its switchover, its agents, its hosts file."""

from __future__ import annotations

import json
from typing import Any

from .events import inside, on_each, settle
from .scene import Scene

SWITCHOVERS = 20


def switchover(scene: Scene) -> None:
    """As the module does it: beside the agent of one pooler host."""
    scene.begin("switchover")
    _switch_over(scene)
    settle(scene)


def switchovers_in_a_row(scene: Scene) -> None:
    scene.begin(f"{SWITCHOVERS} switchovers")
    for _turn in range(SWITCHOVERS):
        _switch_over(scene)
        settle(scene)


def agents_killed(scene: Scene) -> None:
    """On all hosts at once; systemd starts them again."""
    scene.begin("agents killed")
    on_each(scene, scene.poolers, _KILL_AGENT + _AGENT_BACK)
    settle(scene)
    scene.floor = 0.0


def killed_in_mid_switchover(scene: Scene) -> None:
    """The coordinator and the agent beside it, as soon as both hosts have paused; the other host hears nothing more."""
    first = scene.poolers[0]
    inside(scene, first, _BEGIN_SWITCHOVER.format(agents=_agents(scene)))
    scene.begin("agent and coordinator killed")
    on_each(scene, scene.poolers, _UNTIL_PAUSED)
    scene.begin("both hosts paused")
    inside(scene, first, _KILL_AGENT + _AGENT_BACK)
    settle(scene)
    scene.extra["no leader, s"] = scene.without_leader()
    scene.floor = scene.extra["no leader, s"]
    left = on_each(scene, scene.poolers, "ls /var/lib/pgbouncer/pause.json 2>/dev/null || true")
    scene.wrong += [f"{host}: {words.strip()} is left" for host, words in left.items() if words]


def pointed_at_a_replica(scene: Scene) -> None:
    """Somebody edits the hosts file of one host and reloads its instances."""
    leader = scene.watch.leader
    replica = scene.watch.in_role("sync_standby")[0]
    script = _EDIT.format(old=scene.address(leader), new=scene.address(replica))
    scene.begin(f"pointed at {replica}")
    edited = inside(scene, scene.poolers[0], script)
    scene.at = float(edited.split()[-1])
    settle(scene)
    scene.floor = 0.0


def _switch_over(scene: Scene) -> None:
    command = f"nice -n -10 podman exec pgbouncer-agent pooler switchover --json {_agents(scene)} || true"
    said = inside(scene, scene.poolers[0], command).strip().splitlines()
    report: dict[str, Any] = json.loads(said[-1]) if said else {"error": "it said nothing"}
    if report["error"]:
        scene.wrong.append(f"switchover: {report['error']}")
        return
    took = float(report["patroni"])
    scene.floor = max(took, scene.floor or 0.0)
    scene.loads.mark(f"{report['candidate']} leads; Patroni took {took:.2f} s, agents' clients {report['stall']:.2f} s")
    scene.extra["stall by the agents' clients, s"] = max(
        float(report["stall"]), scene.extra.get("stall by the agents' clients, s", 0.0)
    )
    if report["failed"]:
        scene.wrong.append(f"the agents' own clients had {report['failed']} errors")


def _agents(scene: Scene) -> str:
    return " ".join(f"--agent https://{scene.address(host)}:9127" for host in scene.poolers)


_KILL_AGENT = """
before=$(podman inspect --format '{{.Id}}' pgbouncer-agent)
podman kill --signal KILL pgbouncer-agent >/dev/null
"""
_AGENT_BACK = """
until [ "$(podman inspect --format '{{.Id}}' pgbouncer-agent 2>/dev/null || echo "$before")" != "$before" ] &&
      systemctl --quiet is-active pgbouncer-agent
do sleep 0.1
done
"""
_BEGIN_SWITCHOVER = """
podman exec --detach pgbouncer-agent pooler switchover --json {agents} >/dev/null
"""
_UNTIL_PAUSED = """
n=0
until [ -e /var/lib/pgbouncer/pause.json ]; do n=$((n+1)); [ $n -lt 1000 ] || exit 1; sleep 0.01; done
"""

# As a person would: another host in the file, and RELOAD, by a signal; quicker than the agent can look.
_EDIT = """
processes=$(podman ps --filter 'name=^pgbouncer-[0-9]+$' --format '{{{{.Pid}}}}')
cd /etc/pgbouncer/databases
cp -p databases.ini by-hand
sed -i 's/{old}/{new}/' by-hand
mv by-hand databases.ini
kill -HUP $processes
date +%s.%N
"""
