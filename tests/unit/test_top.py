"""`pooler top`: rates, rows, sorting, filtering, the screen, and what scripts get."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
from textual.widgets import DataTable, Input, Static

from pooler import cli
from pooler.errors import PoolerError
from pooler.top import board, command, sources
from pooler.top.board import COLUMNS
from pooler.top.screen import Board
from pooler.top.seen import Counters, Host, Instance, of_console, rated

FIRST = Instance("pool1:50001", clients=10, active=3, idle=2, tps=30, transaction_ms=4, leader="10.0.0.11:5432")
SECOND = Instance("pool1:50002", clients=30, waiting=4, longest=1.25, active=5, tps=10, leader="10.0.0.11:5432")
POOL1 = Host("pool1", leader="10.0.0.11:5432", ready=True, instances=(FIRST, SECOND))
AWAY = Host("pool2", error="Connection refused")


def by(key: str) -> board.Column:
    return next(column for column in COLUMNS if column.key == key)


def names(rows: list[board.Row]) -> list[str]:
    return [row.instance.name for row in rows]


def test_rates_are_what_was_done_between_two_looks() -> None:
    before, now = Counters(10.0, 100, 200, 5.0, 4.0, 1.0), Counters(12.0, 140, 300, 5.2, 4.1, 1.1)
    found = rated(FIRST, before, now)
    assert (found.tps, found.qps) == (20, 50)
    assert (found.transaction_ms, found.query_ms, found.wait_ms) == pytest.approx((5, 1, 2.5))


def test_an_instance_that_was_restarted_has_done_what_it_did_since() -> None:
    assert rated(FIRST, Counters(10.0, 100, 200), Counters(12.0, 6, 6)).tps == 3
    assert rated(FIRST, Counters(10.0), Counters(10.0)) == FIRST


SHOWS: dict[str, list[dict[str, str]]] = {
    "STATE": [{"key": "paused", "value": "no"}],
    "DATABASES": [
        {"name": "app", "host": "10.0.0.11", "port": "5432", "paused": "0"},
        {"name": "report", "host": "10.0.0.11", "port": "5432", "paused": "0"},
        {"name": "other", "host": "10.0.0.12", "port": "5432", "paused": "0"},
        {"name": "pgbouncer", "host": "", "port": "6432", "paused": "0"},
    ],
    "POOLS": [
        {
            "database": name,
            "cl_active": "2",
            "cl_waiting": "1",
            "sv_active": "2",
            "sv_idle": "3",
            "sv_used": "1",
            "maxwait": "1",
            "maxwait_us": "500000",
        }
        for name in ("app", "pgbouncer_agent")
    ],
    "STATS_TOTALS": [
        {
            "database": name,
            "xact_count": "7",
            "query_count": "9",
            "xact_time": "2000000",
            "query_time": "1",
            "wait_time": "0",
        }
        for name in ("app", "pgbouncer")
    ],
}


def test_what_the_agent_and_the_console_do_is_left_out() -> None:
    instance, counters = of_console("pool1:50001", 1.0, SHOWS)
    assert (instance.clients, instance.waiting, instance.longest) == (3, 1, 1.5)
    assert (instance.active, instance.idle, instance.leader, instance.paused) == (2, 4, "10.0.0.11:5432", False)
    assert (counters.transactions, counters.transaction_seconds) == (7, 2.0)


def test_a_database_that_is_paused_makes_clients_wait() -> None:
    databases = [SHOWS["DATABASES"][0] | {"paused": "1"}]
    assert of_console("a", 1.0, SHOWS | {"DATABASES": databases})[0].paused


def test_a_garbled_answer_is_told() -> None:
    with pytest.raises(PoolerError, match="not understood"):
        of_console("a", 1.0, SHOWS | {"POOLS": [{"database": "app"}]})


def test_rows_are_sorted_by_any_column_and_back() -> None:
    rows = board.rows([POOL1, AWAY])
    assert names(board.arranged(rows, by("n"))) == ["pool1:50001", "pool1:50002", "pool2"]
    assert names(board.arranged(rows, by("c"))) == ["pool1:50002", "pool1:50001", "pool2"]
    assert names(board.arranged(rows, by("t"), backwards=True)) == ["pool2", "pool1:50002", "pool1:50001"]
    assert [len(board.arranged(rows, column)) for column in COLUMNS] == [3] * len(COLUMNS)


def test_rows_are_filtered_by_what_is_shown() -> None:
    rows = board.rows([POOL1, AWAY])
    assert names(board.arranged(rows, by("n"), "REFUSED")) == ["pool2"]
    assert names(board.arranged(rows, by("n"), "10.0.0.11")) == ["pool1:50001", "pool1:50002"]


def test_the_balance_is_each_ones_part_of_all_transactions() -> None:
    rows = board.rows([POOL1, AWAY])
    assert [row.share for row in rows] == [0.75, 0.25, 0]
    assert board.drawn(0.75) == "████████··  75%"
    assert board.summary(rows) == (
        "2 of 3 instances serve | 40 clients, 4 wait | 40 transactions/s | leader 10.0.0.11:5432"
        " | balance 25% to 75%, even would be 33%"
    )


def test_why_an_instance_does_not_serve_is_its_state() -> None:
    waiting = Host("pool1", reason="no leader is known", instances=(FIRST, replace(SECOND, paused=True)))
    assert [row.state for row in board.rows([waiting, AWAY])] == ["no leader is known", "paused", "Connection refused"]


def test_a_host_survives_the_way_from_another_host() -> None:
    assert Host.from_json(POOL1.to_json()) == POOL1
    for text in ("", "[]", '{"name": "pool1", "instances": [{"nome": 1}]}'):
        with pytest.raises(PoolerError):
            Host.from_json(text)


async def twice(*hosts: Host) -> AsyncIterator[Host]:
    for host in hosts:
        yield host


def test_the_screen_shows_sorts_and_filters() -> None:
    async def use() -> None:
        app = Board([twice(POOL1), twice(AWAY)])
        async with app.run_test(size=(140, 20)) as pilot:
            table = app.query_one(DataTable)
            await pilot.pause()
            assert [table.get_row_at(row)[0] for row in range(3)] == ["pool1:50001", "pool1:50002", "pool2"]
            await pilot.press("c")
            assert table.get_row_at(0)[0] == "pool1:50002"
            await pilot.press("r")
            assert table.get_row_at(0)[0] == "pool2"
            await pilot.press("slash", *"refused")
            assert (table.row_count, app.query_one(Input).value) == (1, "refused")
            await pilot.press("escape")
            assert table.row_count == 3
            assert "2 of 3 instances serve" in str(app.query_one("#summary", Static).render())
            await pilot.press("q")

    asyncio.run(use())


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fleet that tells twice."""
    slow = replace(POOL1, instances=(replace(FIRST, tps=0),))
    monkeypatch.setattr(command, "_sources", lambda _options: [twice(slow, POOL1)])


@pytest.mark.usefixtures("drawn")
def test_once_is_the_second_look_which_has_rates(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["top", "pool1", "--once"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[1].split()[:4] == ["instance", "clients", "waiting", "servers"]
    assert said[2].split()[:5] == ["pool1:50001", "10", "0", "3+2", "30"]


@pytest.mark.usefixtures("drawn")
def test_json_is_a_line_for_each_host(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["top", "pool1", "--once", "--json"]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert json.loads(line)["instances"][1]["waiting"] == 4


def test_once_is_no_success_when_somebody_does_not_serve(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "_sources", lambda _options: [twice(AWAY)])
    assert cli.main(["top", "pool2", "--once"]) == 1
    assert "Connection refused" in capsys.readouterr().out


def test_away_from_an_agent_and_without_a_host_it_says_what_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["top", "--config", "/nowhere/agent.json"]) == 1
    assert "name hosts" in capsys.readouterr().err


def test_a_host_whose_ssh_fails_is_told_and_asked_again() -> None:
    async def two() -> list[Host]:
        source = sources.over_ssh_from("sh -c 'echo no route >&2; exit 255'", "pool9", 0.01)
        found: list[Any] = [await anext(source), await anext(source)]
        await source.aclose()  # type: ignore[attr-defined]
        return found

    assert asyncio.run(two()) == [Host("pool9", error="no route")] * 2
