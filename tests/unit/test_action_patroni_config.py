"""The action against a cluster that behaves as Patroni 4.0 does: what it patches, whom it restarts, when it stops."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
from ansible_collections.pgfleet.pooler.plugins.action import patroni_config
from ansible_collections.pgfleet.pooler.plugins.plugin_utils.host import Host, HostError
from ansible_collections.pgfleet.pooler.pooler import patroni_inside

SETTING = "max_connections"


@dataclass
class Server:
    """`value` is in force, `taken` the configuration it has taken in. It comes back `away` rounds after a restart."""

    name: str
    value: int = 200
    taken: dict[str, Any] = field(default_factory=dict)
    away: int = 0
    dead: bool = False


class Patroni:
    """Three members, of whom `a` leads. Each pause of the action is one of Patroni's rounds."""

    def __init__(self, container: str = "running") -> None:
        self.config: dict[str, Any] = {"ttl": 30, "postgresql": {"parameters": {SETTING: 200, "work_mem": "7MB"}}}
        self.servers = [Server(name) for name in "abc"]
        for server in self.servers:
            server.taken = json.loads(json.dumps(self.config))
        self.container = container
        self.orders: list[str] = []
        self.conflicts = 0
        self.cuts = 0
        self.paused = False
        self.at_once: list[int] = []
        self.after_restart: Callable[[], None] = lambda: None

    def round(self, _seconds: float = 0) -> None:
        for server in self.servers:
            if not server.dead and not server.away:
                server.taken = json.loads(json.dumps(self.config))
            server.away = max(0, server.away - 1)
        self.at_once.append(sum(server.away > 0 or server.dead for server in self.servers))

    def execute(self, command: str, data: bytes) -> Mapping[str, Any]:
        mark = re.search(r"@[0-9a-f]{16}", command)
        assert mark
        if self.container != "running":
            stdout = f"\n{mark[0]} container\n{self.container}\n"
            return {"rc": 1, "stdout": stdout, "stderr": f"the container spilo is {self.container}: start it"}
        order = _order(data)
        said: dict[str, Any] = {}
        if "patch" in order:
            said["order"] = self._patch(order["patch"])
        if "restart" in order:
            said["order"] = self._restart(order["restart"])
        there = [server for server in self.servers if not server.dead]
        said["config"] = [200, json.dumps(self.config)]
        said["cluster"] = [
            200,
            json.dumps({"members": [self._entry(server) for server in there], "pause": self.paused}),
        ]
        said["members"] = {server.name: json.dumps(self._own(server)) for server in there}
        said["applied"] = {server.name: json.dumps(server.taken) for server in there if not server.away}
        if order.get("at_start"):
            said["at_start"] = [SETTING, "shared_buffers"]
        stdout = f"\n{mark[0]} container\nrunning\n\n{mark[0]} answer\n{json.dumps(said)}\n\n{mark[0]} end\n"
        return {"rc": 0, "stdout": stdout, "stderr": ""}

    def _patch(self, changes: dict[str, Any]) -> list[Any]:
        self.orders.append("patch")
        if self.conflicts:
            self.conflicts -= 1
            return [409, "conflict"]
        if self.cuts:
            self.cuts -= 1
            return [0, "Connection reset by peer"]
        parameters = changes.pop("postgresql", {}).get("parameters", {})
        self.config.update(changes)
        self.config["postgresql"]["parameters"].update(parameters)
        return [200, "{}"]

    def _restart(self, url: str) -> list[Any]:
        server = next(server for server in self.servers if url == f"https://{server.name}:8008")
        self.orders.append(f"restart {server.name}")
        if not self._pending(server):
            return [503, "restart conditions are not satisfied"]
        leader, wanted = self.servers[0], server.taken["postgresql"]["parameters"][SETTING]
        # A replica that is to have less than the leader starts with what the leader has, and stays due.
        server.value = wanted if server is leader else max(wanted, leader.value)
        server.away = 0 if server is leader else 2
        self.after_restart()
        return [200, "Postgres restarted successfully"]

    def _pending(self, server: Server) -> bool:
        return bool(server.taken["postgresql"]["parameters"][SETTING] != server.value)

    def _entry(self, server: Server) -> dict[str, Any]:
        role = {"a": "leader", "b": "sync_standby"}.get(server.name, "replica")
        return {"name": server.name, "role": role, "state": "", "api_url": f"https://{server.name}:8008/patroni"}

    def _own(self, server: Server) -> dict[str, Any]:
        own: dict[str, Any] = {"state": "starting" if server.away else "running"}
        if server.name != "a" and not server.away:
            own["replication_state"] = "streaming"
        if self._pending(server):
            wanted = server.taken["postgresql"]["parameters"][SETTING]
            own["pending_restart"] = True
            own["pending_restart_reason"] = {SETTING: {"old_value": str(server.value), "new_value": str(wanted)}}
        return own


def _order(program: bytes) -> dict[str, Any]:
    """What the call in the last line of the program gives it."""
    call = program.decode().splitlines()[-1]
    order: dict[str, Any] = json.loads(ast.literal_eval(call.removeprefix("main(json.loads(").removesuffix("))")))
    return order


@pytest.fixture
def patroni(monkeypatch: pytest.MonkeyPatch) -> Patroni:
    cluster = Patroni()
    clock = iter(range(100_000))
    monkeypatch.setattr(patroni_config.time, "sleep", cluster.round)
    monkeypatch.setattr(patroni_config.time, "monotonic", lambda: float(next(clock)))
    return cluster


def run(cluster: Patroni, config: Mapping[str, Any], *, check: bool = False, **options: Any) -> dict[str, Any]:
    kind: Any = patroni_config.ActionModule
    action = kind.__new__(kind)
    action.check, action.diff = check, True
    action.host = lambda: Host("h1", cluster.execute)
    access = dict.fromkeys(("ca", "cert", "key"), "/x") | {"url": "https://a:8008", "user": "postgres"}
    arguments = {"config": config, "container": "spilo", "restart_leader": False, "timeout": 50, "members": 3}
    result: dict[str, Any] = action.perform({**access, **arguments, **options})
    return result


def connections(count: int) -> dict[str, Any]:
    return {"postgresql": {"parameters": {SETTING: count}}}


def values(cluster: Patroni) -> list[int]:
    return [server.value for server in cluster.servers]


def test_where_nothing_differs_one_look_is_all(patroni: Patroni) -> None:
    result = run(patroni, {"ttl": 30})
    assert (result["changed"], result["trips"], patroni.orders) == (False, 1, [])
    assert "diff" not in result


def test_somebody_elses_change_is_taken_back_by_one_patch_and_taken_in_by_all(patroni: Patroni) -> None:
    patroni.config["ttl"] = 45
    patroni.round()
    result = run(patroni, {"ttl": 30})
    assert (result["changed"], patroni.orders) == (True, ["patch"])
    assert result["differences"] == ["ttl: 45, should be 30"]
    assert all(server.taken["ttl"] == 30 for server in patroni.servers)
    assert patroni.config["postgresql"]["parameters"]["work_mem"] == "7MB"
    assert not run(patroni, {"ttl": 30})["changed"]


def test_check_mode_shows_the_change_and_its_restarts_and_makes_none(patroni: Patroni) -> None:
    result = run(patroni, connections(300), check=True)
    assert (result["changed"], result["restarted"], result["restart_due"]) == (True, ["b", "c"], ["a"])
    assert (result["trips"], patroni.orders) == (1, [])
    assert '"max_connections": 300' in result["diff"][0]["after"]
    assert "restart PostgreSQL on b" in result["diff"][1]["prepared"]
    assert "work_mem" not in str(result["diff"])


def test_more_connections_restart_the_replicas_in_turn_and_leave_the_leader(patroni: Patroni) -> None:
    result = run(patroni, connections(300))
    assert patroni.orders == ["patch", "restart c", "restart b"]
    assert (values(patroni), result["restart_due"]) == ([200, 300, 300], ["a"])
    assert "restart_leader" in result["warnings"][0]
    assert max(patroni.at_once) == 1
    again = run(patroni, connections(300))
    assert (again["changed"], again["restart_due"], patroni.orders[3:]) == (False, ["a"], [])


def test_the_leader_is_restarted_last_where_that_is_allowed(patroni: Patroni) -> None:
    result = run(patroni, connections(300), restart_leader=True)
    assert patroni.orders == ["patch", "restart c", "restart b", "restart a"]
    assert (values(patroni), result["restart_due"]) == ([300, 300, 300], [])
    assert not run(patroni, connections(300), restart_leader=True)["changed"]


def test_fewer_connections_restart_the_leader_first(patroni: Patroni) -> None:
    result = run(patroni, connections(100), restart_leader=True)
    assert patroni.orders == ["patch", "restart a", "restart c", "restart b"]
    assert (values(patroni), result["restart_due"]) == ([100, 100, 100], [])


def test_fewer_connections_restart_nobody_as_long_as_the_leader_may_not_be(patroni: Patroni) -> None:
    result = run(patroni, connections(100))
    assert patroni.orders == ["patch"]
    assert result["restart_due"] == ["a", "c", "b"]
    patroni.servers[0].value = 100
    assert run(patroni, connections(100))["restarted"] == ["c", "b"]


def test_a_member_that_dies_after_its_restart_stops_all_others(patroni: Patroni) -> None:
    def die() -> None:
        patroni.servers[2].dead = True

    patroni.after_restart = die
    with pytest.raises(HostError, match=r"stops after c: .*c is gone"):
        run(patroni, connections(300), restart_leader=True)
    assert patroni.orders == ["patch", "restart c"]
    with pytest.raises(HostError, match="there are 2 members, not 3: no restart now; due are b"):
        run(patroni, connections(300), restart_leader=True)
    assert patroni.orders == ["patch", "restart c"]


def test_another_run_completes_what_one_began(patroni: Patroni) -> None:
    def die() -> None:
        patroni.servers[2].dead = True

    patroni.after_restart = die
    with pytest.raises(HostError):
        run(patroni, connections(300))
    patroni.servers[2].dead, patroni.after_restart = False, lambda: None
    result = run(patroni, connections(300))
    assert (result["changed"], result["restarted"], values(patroni)) == (True, ["b"], [200, 300, 300])


def test_a_member_that_is_down_stops_restarts_before_the_first(patroni: Patroni) -> None:
    patroni.servers[1].away = 1000
    with pytest.raises(HostError, match="b is starting, not streaming: no restart now; due are c"):
        run(patroni, connections(300))
    assert patroni.orders == ["patch"]


def test_a_member_that_does_not_take_the_configuration_in_is_named(patroni: Patroni, monkeypatch: Any) -> None:
    monkeypatch.setattr(patroni_config.time, "sleep", lambda _seconds: None)
    with pytest.raises(HostError, match="not taken in by a, b, c"):
        run(patroni, {"ttl": 20})


def test_two_who_change_it_at_once_do_not_fail(patroni: Patroni) -> None:
    patroni.conflicts = 2
    assert run(patroni, {"ttl": 20})["changed"]
    assert (patroni.orders, patroni.config["ttl"]) == (["patch"] * 3, 20)


def test_patroni_may_be_away_for_a_moment_when_it_is_told(patroni: Patroni) -> None:
    patroni.cuts = 1
    assert run(patroni, {"ttl": 20})["changed"]
    assert (patroni.orders, patroni.config["ttl"]) == (["patch"] * 2, 20)


def test_a_patch_that_is_refused_is_told(patroni: Patroni) -> None:
    patroni.conflicts = 99
    with pytest.raises(HostError, match="did not take the patch: 409"):
        run(patroni, {"ttl": 20})
    assert patroni.orders == ["patch"] * 3


@pytest.mark.parametrize("before", [0, 1], ids=["at once", "between two questions"])
def test_patroni_is_asked_again_while_it_opens_its_port_anew(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], before: int
) -> None:
    answers = [(200, "{}"), (200, '{"members": []}')]
    answers[before:before] = [(0, "refused"), (0, "reset")]
    monkeypatch.setattr(patroni_inside._Rest, "__init__", lambda *_arguments: None)
    monkeypatch.setattr(patroni_inside._Rest, "ask", lambda *_arguments: answers.pop(0))
    monkeypatch.setattr(patroni_inside.time, "sleep", lambda _seconds: None)
    patroni_inside.main({"url": "https://a:8008"})
    said = json.loads(capsys.readouterr().out)
    assert (said["config"], said["cluster"]) == ([200, "{}"], [200, '{"members": []}'])


def test_nobody_is_restarted_while_patroni_is_paused(patroni: Patroni) -> None:
    patroni.paused = True
    result = run(patroni, connections(300), restart_leader=True)
    assert (patroni.orders, result["restart_due"]) == (["patch"], ["c", "b", "a"])
    assert "paused" in result["warnings"][0]


def test_before_there_is_a_cluster_check_mode_warns_and_a_run_fails() -> None:
    result = run(Patroni("missing"), {"ttl": 20}, check=True)
    assert not result["changed"]
    assert "the container spilo is missing" in result["warnings"][0]
    with pytest.raises(HostError, match="is missing"):
        run(Patroni("missing"), {"ttl": 20})
