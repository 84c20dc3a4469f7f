"""The client of the agents, over TLS with client certificates, against stand-ins."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from pooler.errors import PoolerError
from pooler.server import Server
from pooler.switchover.agents import Agent, Agents, Canary
from tests.unit import stand_in_agents
from tests.unit.stand_in_agents import Fleet, StandIn


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Fleet:
    return stand_in_agents.fleet(tmp_path_factory.mktemp("leaves"))


@pytest.fixture
def pair(fleet: Fleet) -> Iterator[tuple[StandIn, StandIn]]:
    with stand_in_agents.agent(fleet) as one, stand_in_agents.agent(fleet) as two:
        yield one, two


def agents(fleet: Fleet, *stand_ins: StandIn, leaf: Path | None = None) -> Agents:
    tls = fleet.context(leaf or fleet.client)
    return Agents([Agent(stand_in.url, tls) for stand_in in stand_ins])


def test_orders_reach_every_agent_with_their_values(fleet: Fleet, pair: tuple[StandIn, StandIn]) -> None:
    with agents(fleet, *pair) as all_of_them:
        all_of_them.hold(60)
        all_of_them.start_canaries()
        all_of_them.pause()
        all_of_them.point(Server("10.0.0.2", 5433), 5)
        all_of_them.resume()
        all_of_them.stop_canaries()
        all_of_them.release()
    for stand_in in pair:
        assert stand_in.told == [
            ("/hold", {"seconds": 60}),
            ("/canary", {}),
            ("/pause", {}),
            ("/point", {"host": "10.0.0.2", "port": 5433, "seconds": 5}),
            ("/resume", {}),
            ("/canary/stop", {}),
            ("/release", {}),
        ]
    assert all_of_them.felt == {stand_in.url: Canary(1.5, 0, 40) for stand_in in pair}


def test_all_agents_are_told_at_the_same_time(fleet: Fleet, pair: tuple[StandIn, StandIn]) -> None:
    """Each answers only when the other has been asked too."""
    meeting = threading.Barrier(2, timeout=20)

    def meet(path: str) -> None:
        if path == "/pause":
            meeting.wait()

    for stand_in in pair:
        stand_in.before = meet
    with agents(fleet, *pair) as all_of_them:
        all_of_them.hold(60)
        all_of_them.pause()
    assert not meeting.broken


def test_the_agents_notice_when_the_coordinator_goes(fleet: Fleet, pair: tuple[StandIn, StandIn]) -> None:
    with agents(fleet, *pair) as all_of_them:
        all_of_them.hold(60)
        assert not pair[0].left.is_set()
    assert all(stand_in.left.wait(20) for stand_in in pair)


def test_an_agent_that_is_held_by_somebody_else_is_left_alone(fleet: Fleet, pair: tuple[StandIn, StandIn]) -> None:
    one, two = pair
    two.fails["/hold"] = (409, "held by 10.0.0.9")
    with agents(fleet, *pair) as all_of_them:
        with pytest.raises(PoolerError, match=f"^{re.escape(two.url)}: POST /hold: 409: held by 10.0.0.9$"):
            all_of_them.hold(60)
        all_of_them.resume()
        all_of_them.release()
    assert one.paths == ["/hold", "/resume", "/release"]
    assert two.paths == ["/hold"]


def test_every_failing_agent_is_named(fleet: Fleet, pair: tuple[StandIn, StandIn]) -> None:
    for stand_in in pair:
        stand_in.fails["/pause"] = (504, f"a transaction of {stand_in.url} goes on")
    with agents(fleet, *pair) as all_of_them:
        all_of_them.hold(60)
        with pytest.raises(PoolerError) as error:
            all_of_them.pause()
    assert all(f"a transaction of {stand_in.url} goes on" in str(error.value) for stand_in in pair)


def test_a_lost_connection_is_told_once_and_not_opened_again(fleet: Fleet, pair: tuple[StandIn, StandIn]) -> None:
    """A new one would hold nothing, and the agent has undone all that came by the old one."""
    one, two = pair
    with agents(fleet, *pair) as both:
        both.hold(60)
        two.lose.add("/pause")
        with pytest.raises(PoolerError, match=f"^{re.escape(two.url)}: [^;]*$"):
            both.pause()
        two.lose.clear()
        both.resume()
        both.release()
    assert one.paths == ["/hold", "/pause", "/resume", "/release"]
    assert two.paths == ["/hold", "/pause"]


def test_a_connection_that_the_agent_has_ended_is_lost_too(fleet: Fleet) -> None:
    with stand_in_agents.agent(fleet) as stand_in, agents(fleet, stand_in) as one:
        stand_in.close.add("/hold")
        one.hold(60)
        with pytest.raises(PoolerError, match=re.escape(stand_in.url)):
            one.pause()
    assert stand_in.paths == ["/hold"]


def test_an_agent_that_does_not_answer_is_named_before_anybody_is_held(fleet: Fleet) -> None:
    with stand_in_agents.agent(fleet) as stand_in:
        absent = StandIn("https://127.0.0.1:1")
        with pytest.raises(PoolerError, match=re.escape(absent.url)), agents(fleet, stand_in, absent):
            pass
        assert stand_in.told == []


def test_an_agent_must_show_the_name_under_which_it_is_asked(fleet: Fleet) -> None:
    with (
        stand_in_agents.agent(fleet, fleet.elsewhere) as stand_in,
        pytest.raises(PoolerError, match="certificate"),
        agents(fleet, stand_in),
    ):
        pass


def test_who_is_not_the_role_is_told_so(fleet: Fleet) -> None:
    with ExitStack() as stack:
        stand_in = stack.enter_context(stand_in_agents.agent(fleet))
        stranger = stack.enter_context(agents(fleet, stand_in, leaf=fleet.stranger))
        with pytest.raises(PoolerError, match="403: only pgbouncer may"):
            stranger.hold(60)
