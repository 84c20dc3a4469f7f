"""The steps of a switchover when each of them fails in turn: what is undone, and that clients always go on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from threading import Event

import pytest

from pooler.errors import PoolerError
from pooler.server import Server
from pooler.switchover.agents import Agent, Agents
from pooler.switchover.change import Change
from pooler.switchover.coordinator import Limits, steps
from pooler.switchover.pipeline import Step, StepError, run
from tests.unit import stand_in_agents
from tests.unit.stand_in_agents import Fleet, StandIn

OLD, NEW, THIRD = Server("10.0.0.1"), Server("10.0.0.2"), Server("10.0.0.3")
LIMITS = Limits(pause=5, stall=10)
WHOLE = ["/hold", "/canary", "/pause", "/point", "/resume", "/canary/stop", "/release"]
ORDERED = WHOLE[: WHOLE.index("/resume")]


@dataclass
class Patroni:
    """A stand-in for Patroni and the databases: who takes writes how many seconds after the order."""

    writable: dict[Server, float] = field(default_factory=lambda: {NEW: 2.0})
    refuses: str = ""
    sent: bool = False
    refused: str = ""
    now: float = 100.0
    ordered: float = 0.0

    def send(self) -> None:
        self.sent, self.ordered, self.refused = True, self.now, self.refuses

    def takes_writes(self, server: Server) -> bool:
        if not self.sent:
            return server == OLD
        return server in self.writable and self.now - self.ordered >= self.writable[server]

    def wait(self, seconds: float) -> None:
        self.now += seconds

    def change(self, after: Server = NEW) -> Change:
        return Change(
            "switchover",
            self,
            before=OLD,
            after=after,
            reached=lambda: self.takes_writes(after),
            still=lambda: self.takes_writes(OLD),
            elsewhere=lambda: next((each for each in reversed(self.writable) if self.takes_writes(each)), None),
            clock=lambda: self.now,
            wait=self.wait,
        )


@dataclass
class Scene:
    one: StandIn
    two: StandIn
    agents: Agents
    patroni: Patroni = field(default_factory=Patroni)
    stop: Event = field(default_factory=Event)

    def run(self, after: Server = NEW) -> Change:
        change = self.patroni.change(after)
        todo = steps(self.agents, change, LIMITS, (), lambda: self.patroni.now)
        run(todo, lambda _taken: None, self.stop.is_set)
        return change

    def fails(self, words: str, after: Server = NEW) -> None:
        with pytest.raises(StepError, match=words):
            self.run(after)

    def pointed(self) -> list[str]:
        return [str(body["host"]) for path, body in self.one.told if path == "/point"]


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Fleet:
    return stand_in_agents.fleet(tmp_path_factory.mktemp("leaves"))


@pytest.fixture
def scene(fleet: Fleet) -> Iterator[Scene]:
    with stand_in_agents.agent(fleet) as one, stand_in_agents.agent(fleet) as two:
        tls = fleet.context(fleet.client)
        with Agents([Agent(one.url, tls), Agent(two.url, tls)]) as agents:
            yield Scene(one, two, agents)


def test_a_switchover_is_these_steps_and_nothing_is_undone(scene: Scene) -> None:
    change = scene.run()
    assert scene.one.paths == scene.two.paths == WHOLE
    assert scene.pointed() == [NEW.host]
    assert change.took == pytest.approx(2.0, abs=0.1)


def test_patroni_is_told_only_when_everybody_is_paused_and_clients_go_on_only_when_writes_are_taken(
    scene: Scene,
) -> None:
    sent: dict[str, list[bool]] = {path: [] for path in WHOLE}
    writable: list[bool] = []

    def look(path: str) -> None:
        sent[path].append(scene.patroni.sent)
        if path == "/resume":
            writable.append(scene.patroni.takes_writes(NEW))

    scene.one.before = scene.two.before = look
    scene.run()
    assert sent["/pause"] == sent["/point"] == [False, False]
    assert sent["/resume"] == writable == [True, True]


@pytest.mark.parametrize(
    ("path", "undone"),
    [
        ("/hold", ["/hold", "/release"]),
        ("/canary", ["/hold", "/canary", "/canary/stop", "/release"]),
        ("/pause", ["/hold", "/canary", "/pause", "/resume", "/canary/stop", "/release"]),
        ("/point", ["/hold", "/canary", "/pause", "/point", "/point", "/resume", "/canary/stop", "/release"]),
    ],
)
def test_a_step_that_one_host_refuses_is_undone_on_all_and_patroni_hears_nothing(
    scene: Scene, path: str, undone: list[str]
) -> None:
    scene.two.fails[path] = (504, "cannot")
    scene.fails("cannot")
    assert scene.one.paths == undone
    assert not scene.patroni.sent
    assert scene.pointed() == ([NEW.host, OLD.host] if path == "/point" else [])


def test_a_refusal_of_patroni_brings_everybody_back_to_the_old_leader_at_once(scene: Scene) -> None:
    scene.patroni.refuses = "412: candidate name does not match with sync_standby"
    scene.patroni.writable = {OLD: 0.0}
    scene.fails("does not match")
    assert scene.one.paths == [*ORDERED, "/point", "/resume", "/canary/stop", "/release"]
    assert scene.pointed() == [NEW.host, OLD.host]
    assert scene.patroni.now - scene.patroni.ordered < 1.0


@pytest.mark.parametrize(
    ("writable", "leads"),
    [
        ({NEW: 12.0}, NEW),
        ({THIRD: 3.0}, THIRD),
        ({OLD: 0.0}, OLD),
        ({OLD: 11.0, THIRD: 15.0}, THIRD),
    ],
)
def test_when_the_candidate_is_late_everybody_is_pointed_at_whoever_leads_and_goes_on(
    scene: Scene, writable: dict[Server, float], leads: Server
) -> None:
    scene.patroni.writable = writable
    scene.fails("10.0.0.2 takes no writes")
    assert scene.one.paths == scene.two.paths == [*ORDERED, "/point", "/resume", "/canary/stop", "/release"]
    assert scene.pointed() == [NEW.host, leads.host]


def test_when_nobody_leads_clients_go_on_all_the_same_in_bounded_time(scene: Scene) -> None:
    scene.patroni.writable = {}
    began = scene.patroni.now
    scene.fails("nobody takes writes")
    assert scene.one.paths[-3:] == ["/resume", "/canary/stop", "/release"]
    assert scene.patroni.now - began < 21


@pytest.mark.parametrize("path", ["/resume", "/canary/stop", "/release"])
def test_what_fails_after_the_switchover_is_tried_again_and_the_new_leader_stays(scene: Scene, path: str) -> None:
    scene.two.fails[path] = (500, "cannot")
    scene.fails("cannot")
    assert set(scene.pointed()) == {NEW.host}
    assert "/resume" in scene.one.paths
    assert scene.one.paths.count("/release") == 1
    assert scene.two.paths.count("/resume") >= 1
    assert scene.two.paths[-1] == "/release"


def test_a_host_that_is_lost_in_the_pause_does_not_keep_the_others_waiting(scene: Scene) -> None:
    scene.two.lose.add("/resume")
    scene.fails(scene.two.url)
    assert scene.one.paths[: len(WHOLE) - 2] == WHOLE[:-2]
    assert scene.one.paths[-1] == "/release"


@pytest.mark.parametrize("path", ["/hold", "/canary", "/pause", "/point"])
def test_who_asks_for_the_end_gets_it_before_patroni_is_told(scene: Scene, path: str) -> None:
    scene.one.before = lambda asked: scene.stop.set() if asked == path else None
    scene.fails("was told to stop")
    assert not scene.patroni.sent
    assert scene.one.paths[-1] == "/release"
    assert ("/resume" in scene.one.paths) == (path in ("/pause", "/point"))
    assert scene.pointed() == ([NEW.host, OLD.host] if path == "/point" else [])


def test_who_asks_for_the_end_afterwards_gets_the_whole(scene: Scene) -> None:
    change = scene.patroni.change()
    wait = change.wait

    def stopped(seconds: float) -> None:
        scene.stop.set()
        wait(seconds)

    change.wait = stopped
    todo = steps(scene.agents, change, LIMITS, (), lambda: scene.patroni.now)
    run(todo, lambda _taken: None, scene.stop.is_set)
    assert scene.one.paths == WHOLE


def test_a_checkpoint_that_fails_holds_nobody(scene: Scene) -> None:
    def checkpoint() -> None:
        raise PoolerError("no space left")

    change = scene.patroni.change()
    with pytest.raises(StepError, match="checkpoint: no space left"):
        run(steps(scene.agents, change, LIMITS, [Step("checkpoint", checkpoint)]), lambda _taken: None)
    assert scene.one.told == scene.two.told == []


def test_a_restart_points_nobody_elsewhere(scene: Scene) -> None:
    scene.patroni.writable = {OLD: 3.0}
    change = scene.run(after=OLD)
    assert scene.one.paths == WHOLE
    assert scene.pointed() == [OLD.host]
    assert change.took == pytest.approx(3.0, abs=0.1)


def test_when_a_restart_ends_in_a_failover_everybody_follows(scene: Scene) -> None:
    scene.patroni.writable = {THIRD: 12.0}
    scene.fails("10.0.0.1 takes no writes", after=OLD)
    assert scene.pointed() == [OLD.host, THIRD.host]


def test_the_lease_covers_all_that_a_run_may_take() -> None:
    assert Limits(5, 10).lease >= 5 + 10 + 10
