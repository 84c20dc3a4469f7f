"""`pooler switchover`, `restart-leader` and `cluster`, as the modules call them."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pooler import cli
from pooler.agent.config import AgentConfig
from pooler.switchover.agents import Canary
from pooler.switchover.pipeline import Taken
from pooler.switchover.report import Report, line
from tests.unit import stand_in_agents
from tests.unit.stand_in_agents import ROLE, Fleet
from tests.unit.test_switchover_patroni import Member, member

# A port of this machine on which nothing listens stands for PostgreSQL.
CLUSTER: dict[str, Any] = {
    "members": [
        {"name": "db1", "role": "leader", "state": "running", "host": "127.0.0.1", "port": 1, "timeline": 4},
        {"name": "db2", "role": "sync_standby", "state": "streaming", "host": "127.0.0.1", "port": 1, "lag": 0},
    ]
}


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Fleet:
    return stand_in_agents.fleet(tmp_path_factory.mktemp("leaves"))


@pytest.fixture(autouse=True)
def _handlers() -> Iterator[None]:
    """The command takes over signals of its process, which here is that of the tests."""
    kept = {each: signal.getsignal(each) for each in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)}
    yield
    for each, handler in kept.items():
        signal.signal(each, handler)


@contextmanager
def patroni(**values: Any) -> Iterator[Member]:
    with member(
        cluster=(200, json.dumps(CLUSTER | values)), config=(200, json.dumps({"synchronous_mode": True}))
    ) as found:
        yield found


def options(fleet: Fleet, directory: Path, url: str) -> list[str]:
    config = AgentConfig(
        port=6432,
        consoles=(50001,),
        server_leaf=str(fleet.server),
        client_leaf=str(fleet.client),
        role=ROLE,
        dbname="postgres",
        patroni=(url,),
    )
    file = directory / "agent.json"
    file.write_text(config.to_json())
    return ["--config", str(file)]


def said(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    found = json.loads(capsys.readouterr().out)
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize("command", ["switchover", "restart-leader"])
@pytest.mark.parametrize(
    ("values", "words"),
    [({}, "127.0.0.1:1: connection"), ({"pause": True}, "cluster: Patroni is in maintenance mode")],
)
def test_when_something_is_not_as_it_must_be_it_is_told_as_json_and_nobody_was_held(
    fleet: Fleet,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    command: str,
    values: dict[str, Any],
    words: str,
) -> None:
    with patroni(**values) as db, stand_in_agents.agent(fleet) as agent:
        assert cli.main([command, *options(fleet, tmp_path, db.url), "--agent", agent.url, "--json"]) == 1
        assert agent.told == []
        assert db.orders == []
    report = said(capsys)
    assert report["error"].startswith(words)
    assert report["changed"] is False
    assert report["stall"] is None


def test_an_agent_that_is_away_ends_it_before_patroni_is_asked(
    fleet: Fleet, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with patroni() as db:
        away = ["--agent", "https://127.0.0.1:1", "--json"]
        assert cli.main(["switchover", *options(fleet, tmp_path, db.url), *away]) == 1
        assert db.authorization == []
    assert said(capsys)["error"].startswith("https://127.0.0.1:1: ")


@pytest.mark.parametrize("command", ["switchover", "restart-leader"])
def test_agents_that_follow_nobody_are_told_apart(
    fleet: Fleet, tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    given = options(fleet, tmp_path, "")
    config = tmp_path / "agent.json"
    config.write_text(replace(AgentConfig.from_json(config.read_text(), name="agent.json"), patroni=()).to_json())
    with stand_in_agents.agent(fleet) as agent:
        assert cli.main([command, *given, "--agent", agent.url, "--json"]) == 1
        assert agent.told == []
    assert said(capsys)["error"].startswith("patroni: no member's URL is known (an agent whose databases have a fixed")


def test_the_cluster_is_told_as_json_with_its_leader(
    fleet: Fleet, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with patroni() as db:
        assert cli.main(["cluster", *options(fleet, tmp_path, db.url), "--json"]) == 0
    found = said(capsys)
    assert (found["leader"], found["synchronous"], found["paused"]) == ("db1", True, False)
    assert [each["name"] for each in found["members"]] == ["db1", "db2"]
    assert found["members"][0]["timeline"] == 4


def test_a_leader_that_does_not_run_is_not_told_as_one(
    fleet: Fleet, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stopping = CLUSTER["members"][0] | {"state": "stopping"}
    with patroni(members=[stopping, CLUSTER["members"][1]]) as db:
        assert cli.main(["cluster", *options(fleet, tmp_path, db.url), "--json"]) == 0
    assert said(capsys)["leader"] == ""


def test_the_cluster_is_a_table_for_people(fleet: Fleet, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with patroni(pause=True) as db:
        assert cli.main(["cluster", *options(fleet, tmp_path, db.url)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["member", "role", "state", "address", "lag"]
    assert lines[2].split() == ["db2", "sync_standby", "streaming", "127.0.0.1:1", "0"]
    assert lines[3] == "Patroni is in maintenance mode"


def test_other_members_than_the_agents_own_may_be_named(
    fleet: Fleet, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with patroni() as db:
        given = options(fleet, tmp_path, "http://127.0.0.1:1")
        assert cli.main(["cluster", *given, "--patroni", db.url, "--json"]) == 0
    assert said(capsys)["leader"] == "db1"


REPORT = Report(
    leader="db1",
    candidate="db2",
    changed=True,
    patroni=1.92345,
    hosts={"https://a:9127": Canary(1.98765, 0, 50), "https://b:9127": Canary(2.01234, 1, 60)},
    steps=(Taken("hold", 0.00123), Taken("pause", 0.02)),
)


def test_the_longest_wait_of_any_host_is_the_stall_and_all_transactions_count() -> None:
    found = json.loads(REPORT.to_json())
    assert (found["stall"], found["failed"], found["done"], found["patroni"]) == (2.012, 1, 110, 1.923)
    assert found["hosts"]["https://a:9127"] == {"stall": 1.988, "failed": 0, "done": 50}
    assert found["steps"][0] == {"name": "hold", "seconds": 0.001, "error": ""}
    assert REPORT.text().splitlines() == [
        "clients waited at most 2.012 s; Patroni alone took 1.923 s",
        "1 of 111 transactions failed",
        "db2 leads",
    ]


def test_a_stall_beyond_the_limit_is_a_failure_and_an_earlier_one_stays() -> None:
    assert REPORT.judged(2.1).error == ""
    assert REPORT.judged(2.0).error == "clients waited 2.01 s, longer than the 2 s allowed"
    assert Report(error="hold: no").judged(0).error == "hold: no"


def test_a_step_is_a_line_with_its_time() -> None:
    assert line(Taken("pause", 0.0204)) == "   0.020 s  pause"
    assert line(Taken("undo pause", 1.0, "lost")) == "   1.000 s  undo pause: lost"
