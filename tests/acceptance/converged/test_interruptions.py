"""A play that is killed at any point: the host goes on serving, the next run completes, the one after has no work."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import psycopg
import pytest
import yaml

from tests.acceptance import clients
from tests.acceptance.cut import Victim, interrupted
from tests.acceptance.playbook import Run, run
from tests.acceptance.remote import Remote
from tests.acceptance.scenario import CONSOLES, POOLER, Scenario
from tests.acceptance.variables import OPERATOR, WATCHER

PLAYBOOK = str(Path(__file__).parents[1] / "playbooks/poolers.yml")
TASK = "pgfleet.pooler.pgbouncer : PgBouncer instances"
LOGINS = 12
"""So many that each of a few instances gets some."""

State = Mapping[str, Any]

QUICK: State = {"pgbouncer_drain_timeout": 1}


def given(directory: Path, state: State) -> tuple[str, str]:
    """The options that bring a state about; it may hold secrets."""
    file = directory / "state.yml"
    file.touch(mode=0o600)
    file.write_text(yaml.safe_dump({**QUICK, **state}))
    return "--extra-vars", f"@{file}"


def outcomes(ended: Run) -> list[str]:
    """How the task of the role ended each time it ran."""
    tasks = re.split(r"^(?=TASK \[|PLAY )", ended.output, flags=re.MULTILINE)
    ours = [task for task in tasks if task.startswith(f"TASK [{TASK}]")]
    return [
        found[1] for task in ours if (found := re.search(rf"^(ok|changed|fatal): \[{POOLER}\]", task, re.MULTILINE))
    ]


def completes(lab: Scenario, options: tuple[str, str], where: str) -> None:
    ended = run(lab, PLAYBOOK, *options, PLAYBOOK)
    assert ended.status == 0, f"after a cut {where}:\n{ended.tail()}"
    assert outcomes(ended)[1:] == ["ok"], f"after a cut {where}"


def serves(lab: Scenario, where: str) -> None:
    for _number in range(LOGINS):
        try:
            assert clients.by_psycopg(lab, "app", "app") == ("app", "app")
        except psycopg.OperationalError as error:
            pytest.fail(f"cut {where}: {error}")


Around = Callable[[State], contextlib.AbstractContextManager[None]]


@contextlib.contextmanager
def nothing(_target: State) -> Iterator[None]:
    yield


LEFTOVERS = (
    "ls -d /var/lib/pgfleet /run/systemd/system/pgbouncer@*.service.d /run/pgfleet.unfinished "
    "/etc/pgbouncer/*.new /etc/pgbouncer/*/*.new 2>/dev/null || :"
)


@pytest.fixture(scope="module", autouse=True)
def as_before(lab: Scenario) -> Iterator[None]:
    yield
    assert run(lab, PLAYBOOK).status == 0


def walk(
    lab: Scenario,
    pooler: Remote,
    directory: Path,
    states: tuple[State, State],
    victim: Victim,
    around: Around = nothing,
) -> list[str]:
    """Cut the way from one state to the other, and back, at one point after the other; where that was."""
    assert run(lab, PLAYBOOK, *given(directory, states[0])).status == 0
    cuts: list[str] = []
    while True:
        target = states[(len(cuts) + 1) % 2]
        options = given(directory, target)
        with around(target):
            where, ended = interrupted(lab, directory, PLAYBOOK, *options, point=len(cuts) + 1, victim=victim)
            if not where:
                assert ended.status == 0, ended.tail()
                return cuts
            serves(lab, where)
            completes(lab, options, where)
        assert pooler.sh(LEFTOVERS) == "", f"after a cut {where}"
        cuts.append(where)


def test_a_change_of_settings_and_users_may_be_killed_anywhere(lab: Scenario, pooler: Remote, tmp_path: Path) -> None:
    """Each way one user goes and the other comes, and nobody else notices."""
    users = {user["name"]: user for user in lab.variables["pgbouncer_users"]}
    states = [
        {
            "pgbouncer_users": [user for name, user in users.items() if name != gone],
            "pgbouncer_settings": {"max_db_connections": limit},
        }
        for gone, limit in ((OPERATOR, 77), (WATCHER, 88))
    ]

    @contextlib.contextmanager
    def two_sessions(target: State) -> Iterator[None]:
        (goes,) = users.keys() - {user["name"] for user in target["pgbouncer_users"]}
        with clients.console(lab, CONSOLES[1], goes) as gone, clients.connect(lab) as kept:
            yield
            with pytest.raises(psycopg.OperationalError):
                gone.execute("SHOW VERSION")
            assert kept.execute("SELECT 1").fetchone() == (1,)

    cuts = walk(lab, pooler, tmp_path, (states[0], states[1]), "script", two_sessions)
    assert "at step 3 of script 2" in cuts


def test_a_rolling_restart_may_be_killed_anywhere(lab: Scenario, pooler: Remote, tmp_path: Path) -> None:
    cuts = walk(lab, pooler, tmp_path, ({}, {"pgbouncer_settings": {"pkt_buf": 16384}}), "script")
    assert "at step 3 of script 4" in cuts


def test_scaling_may_be_killed_anywhere(lab: Scenario, pooler: Remote, tmp_path: Path) -> None:
    cuts = walk(lab, pooler, tmp_path, ({}, {"pgbouncer_instances": 3}), "sshd")
    assert "at step 1 of script 2" in cuts


def test_a_drain_that_dies_lets_clients_stay_and_ends_by_itself(lab: Scenario, pooler: Remote, tmp_path: Path) -> None:
    options = given(tmp_path, {"pgbouncer_drain_timeout": 60, "pgbouncer_settings": {"pkt_buf": 16384}})
    with contextlib.ExitStack() as clients_of_both:
        kept = [clients_of_both.enter_context(clients.connect(lab)) for _number in range(LOGINS)]
        where, _ended = interrupted(lab, tmp_path, PLAYBOOK, *options, function="leave")
        assert where == "in leave"
        serves(lab, where)
        assert [connection.execute("SELECT 1").fetchone() for connection in kept] == [(1,)] * LOGINS
    # The engine goes when its clients have gone, and systemd starts the instance anew, ports included.
    started = "systemctl show --property=ActiveEnterTimestampMonotonic --value pgbouncer@50001.service"
    before = pooler.sh(started)
    assert any(pooler.sh(started) != before for _attempt in range(1000))
    serves(lab, "in leave, later")
    completes(lab, given(tmp_path, {}), where)
    assert pooler.sh(LEFTOVERS) == ""
