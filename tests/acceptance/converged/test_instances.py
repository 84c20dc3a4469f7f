"""Two instances on one port: sharing, consoles, cancel, death, and what they look like from inside."""

from __future__ import annotations

import contextlib
import json
import re
import threading

import psycopg
import pytest

from pooler.shell import ENTER
from tests.acceptance import clients
from tests.acceptance.remote import Remote
from tests.acceptance.scenario import CONSOLES, Scenario
from tests.acceptance.variables import OPERATOR, WATCHER

CONNECTIONS = 40
CANCELS = 20


def clients_of(pooler: Remote, instance: int, application: str) -> int:
    header, *rows = pooler.console(instance, "SHOW CLIENTS")
    return sum(row[header.index("application_name")] == application for row in rows)


def test_both_instances_serve_the_one_port(lab: Scenario, pooler: Remote) -> None:
    with contextlib.ExitStack() as open_connections:
        for _number in range(CONNECTIONS):
            open_connections.enter_context(clients.connect(lab, application_name="sharing"))
        served = [clients_of(pooler, instance, "sharing") for instance in CONSOLES]
    assert sum(served) == CONNECTIONS
    assert min(served) > 0


@pytest.mark.parametrize("instance", CONSOLES)
def test_each_instance_answers_on_its_own_console_port(lab: Scenario, instance: int) -> None:
    with clients.console(lab, instance, OPERATOR) as connection:
        shown = dict(row[:2] for row in connection.execute("SHOW CONFIG").fetchall())
    assert shown["unix_socket_dir"] == f"/run/pgbouncer/{instance}"
    assert shown["peer_id"] == str(instance - 50000)


@pytest.mark.parametrize("instance", CONSOLES)
def test_each_instance_answers_on_its_own_unix_socket(pooler: Remote, instance: int) -> None:
    shown = {row[0]: row[1] for row in pooler.console(instance, "SHOW CONFIG")}
    assert shown["peer_id"] == str(instance - 50000)


def test_console_ports_are_on_loopback_only(lab: Scenario) -> None:
    with pytest.raises(psycopg.OperationalError, match="Connection refused"):
        clients.connect(lab, OPERATOR, "pgbouncer", port=CONSOLES[0])


def test_a_watcher_may_look_and_not_act(lab: Scenario) -> None:
    with clients.console(lab, CONSOLES[0], WATCHER, **clients.certificate(lab, WATCHER)) as connection:
        assert connection.execute("SHOW VERSION").fetchone()
        with pytest.raises(psycopg.Error, match=r"not allowed|admin access needed"):
            connection.execute("RELOAD")


def test_a_cancel_through_the_shared_port_reaches_its_query_every_time(lab: Scenario) -> None:
    reached = 0
    for _number in range(CANCELS):
        with clients.connect(lab) as connection:
            canceller = _WhenRunning(lab, connection)
            canceller.start()
            try:
                connection.execute("SELECT pg_sleep(30)")
            except psycopg.errors.QueryCanceled:
                reached += 1
            canceller.join()
    assert reached == CANCELS


class _WhenRunning(threading.Thread):
    """Cancels what a connection runs, once PostgreSQL says that it is running."""

    def __init__(self, lab: Scenario, connection: psycopg.Connection[object]) -> None:
        super().__init__()
        self.lab, self.connection = lab, connection

    def run(self) -> None:
        with clients.connect(self.lab) as looking:
            query = "SELECT FROM pg_stat_activity WHERE state = 'active' AND query LIKE 'SELECT pg_sleep%'"
            while not looking.execute(query).fetchall():
                pass
        self.connection.cancel_safe(timeout=clients.LOGIN_TIMEOUT)


def test_a_killed_instance_is_back_by_itself(lab: Scenario, pooler: Remote) -> None:
    ask = "podman inspect --format '{{.State.Pid}}' pgbouncer-50001"
    before = pooler.sh(ask)
    pooler.sh(f"kill -KILL {before}")
    # systemd holds the port meanwhile: the connection waits there until somebody answers.
    with clients.console(lab, 50001, OPERATOR) as connection:
        assert connection.execute("SHOW VERSION").fetchone()
    assert pooler.sh(ask) != before
    assert pooler.sh("systemctl show --property=NRestarts --value pgbouncer@50001.service").strip() != "0"


@pytest.mark.parametrize("instance", CONSOLES)
def test_seen_from_inside_an_instance_can_do_next_to_nothing(pooler: Remote, instance: int) -> None:
    inside = f"podman exec pgbouncer-{instance}"
    status = dict(
        line.split(":\t", 1) for line in pooler.sh(f"{inside} cat /proc/1/status").splitlines() if ":\t" in line
    )
    assert set(status["Uid"].split()) == set(status["Gid"].split()) == {"6432"}
    assert {int(status[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {0}
    assert status["NoNewPrivs"] == "1"
    assert status["Seccomp"] == "2"
    root = next(line for line in pooler.sh(f"{inside} cat /proc/1/mountinfo").splitlines() if line.split()[4] == "/")
    assert "ro" in root.split()[5].split(",")
    for place in ("/", "/tmp", "/var/tmp", "/etc/pgbouncer"):
        assert "Read-only" in pooler.sh(f"{inside} touch {place}/written 2>&1 || :")


@pytest.mark.parametrize("instance", CONSOLES)
def test_an_engine_writes_each_line_of_its_log_at_once(pooler: Remote, instance: int) -> None:
    """Which it does with a library beside it; where that is not loaded, each line wakes the journal twice."""
    maps = pooler.sh(f"cat /proc/$(podman inspect --format '{{{{.State.Pid}}}}' pgbouncer-{instance})/maps")
    assert "/libstdbuf.so" in maps


@pytest.mark.parametrize(("runtime", "without"), [("crun", ""), ("podman", "timeout() { return 1; }")])
def test_who_asks_a_console_can_do_no_more_than_the_instance(pooler: Remote, runtime: str, without: str) -> None:
    """The roles' way into a container: the OCI runtime itself, or podman where that is another one."""
    said = pooler.sh(f'{ENTER}\n{without}\nway=$(enter 50001)\necho "$way"\n$way cat /proc/self/status')
    way, _newline, text = said.partition("\n")
    assert way.split()[0] == runtime
    status = dict(line.split(":\t", 1) for line in text.splitlines() if ":\t" in line)
    assert set(status["Uid"].split()) == set(status["Gid"].split()) == {"6432"}
    assert {int(status[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {0}
    assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")


def test_the_hardening_of_the_unit_is_measured(lab: Scenario, pooler: Remote) -> None:
    answer = pooler.sh("systemd-analyze security --no-pager pgbouncer@50001.service | tail -n 1")
    figure = re.search(r": ([0-9.]+) ([A-Z]+)", answer)
    assert figure, answer
    place = lab.project / "build/acceptance/hardening.json"
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(json.dumps({"unit": "pgbouncer@.service", "exposure": float(figure[1]), "verdict": figure[2]}))
    print(answer.strip())
