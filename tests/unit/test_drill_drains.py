"""When instances drained, by their journal; and what was closed before its time."""

from __future__ import annotations

import json

import pytest

from pooler.drill.drains import Drain, early, read

WAITS = "2026-11-21 02:56:36.584 UTC [1] LOG got SIGTERM, shutting down, waiting for all clients disconnect"
CUTS = (
    "2026-11-21 02:56:35.098 UTC [1] LOG got SIGINT, shutting down, waiting for all servers connections to be released"
)
EMPTY = "2026-11-21 02:56:36.708 UTC [1] LOG client connections dropped, exiting"
CUT_OFF = "2026-11-21 02:56:35.320 UTC [1] LOG server connections dropped, exiting"
UP = "2026-11-21 02:56:35.550 UTC [1] LOG process up: PgBouncer 1.24.1, libevent 2.1.13-stable (epoll)"


def line(at: float, message: object, instance: str = "pgbouncer@50001") -> str:
    entry = {"__REALTIME_TIMESTAMP": str(round(at * 1e6)), "SYSLOG_IDENTIFIER": instance, "MESSAGE": message}
    return json.dumps(entry)


def test_a_drain_that_all_clients_left_was_not_cut() -> None:
    lines = [line(1, WAITS), line(3, EMPTY), line(4, UP)]
    assert read(lines) == [Drain("pgbouncer@50001", waited=1, cut=None, ended=3)]


def test_a_drain_with_a_deadline_waits_and_is_then_cut() -> None:
    lines = [line(1, WAITS), line(6, CUTS), line(6.5, CUT_OFF), line(7, UP)]
    assert read(lines) == [Drain("pgbouncer@50001", waited=1, cut=6, ended=6.5)]


def test_a_stop_without_waiting_is_a_cut() -> None:
    assert read([line(1, CUTS), line(2, CUT_OFF)]) == [Drain("pgbouncer@50001", waited=None, cut=1, ended=2)]


def test_an_instance_killed_in_its_drain_has_ended_when_the_next_is_up() -> None:
    assert read([line(1, WAITS), line(6, UP)]) == [Drain("pgbouncer@50001", waited=1, cut=None, ended=6)]


def test_instances_drain_side_by_side() -> None:
    lines = [line(1, WAITS), line(2, WAITS, "pgbouncer@50002"), line(3, CUTS), line(4, EMPTY, "pgbouncer@50002")]
    assert read(lines) == [
        Drain("pgbouncer@50001", waited=1, cut=3, ended=None),
        Drain("pgbouncer@50002", waited=2, cut=None, ended=4),
    ]


def test_words_of_others_and_bytes_that_are_no_text_are_passed_over() -> None:
    lines = [line(1, WAITS, "systemd"), line(1, [255, 254]), line(2, UP)]
    assert read(lines) == []


@pytest.mark.parametrize(
    ("closed", "count"),
    [(10.0, 1), (14.5, 1), (15.0, 0), (15.9, 0), (18.5, 0), (20.0, 1)],
    ids=["at once", "before the deadline", "at the deadline", "while it ends", "heard of late", "long afterwards"],
)
def test_a_connection_may_be_closed_from_the_deadline_until_the_instance_has_ended(closed: float, count: int) -> None:
    drain = Drain("pgbouncer@50001", waited=10, cut=15, ended=16)
    assert early([closed], [drain], deadline=5) == count


def test_closed_connections_are_early_when_nothing_waited() -> None:
    assert early([1.0, 2.0], [Drain("pgbouncer@50001", waited=None, cut=0.5, ended=3)], deadline=0) == 2
    assert early([1.0], [], deadline=0) == 1


def test_one_drain_in_its_right_is_enough() -> None:
    drains = [Drain("a", waited=0, cut=5, ended=6), Drain("b", waited=6, cut=11, ended=12)]
    assert early([5.5, 11.5, 10.0], drains, deadline=5) == 1
