"""What `make bench` makes of its rounds."""

from __future__ import annotations

import math

import pytest

from tests.bench import data, peers, ways
from tests.bench.ways import Run


def test_each_round_is_compared_with_itself() -> None:
    quiet, busy = [Run(100, 100, 1, 1), Run(300, 300, 3, 3)], [Run(50, 50, 1, 1), Run(150, 150, 3, 3)]

    assert ways.ratio(quiet, busy, lambda run: run.rate) == 2


def test_a_round_in_which_one_got_nothing_done_is_left_out() -> None:
    some, others = [Run(0, 0, 5, 5), Run(10, 10, 1, 1)], [Run(100, 100, 1, 1), Run(5, 5, 1, 1)]

    assert ways.ratio(some, others, lambda run: run.rate) == 2
    assert math.isnan(ways.ratio(some[:1], others[:1], lambda run: run.rate))


def test_cpu_is_told_for_each_transaction_in_microseconds() -> None:
    run = Run(done=1000, rate=1, cpu=0.02, server=0.03)

    assert (run.each, run.whole) == pytest.approx((20, 50))


def test_logins_of_clients_who_stay_are_not_part_of_their_transactions() -> None:
    login = Run(done=100, rate=100, cpu=0.2, server=0.1)

    result = data.without(Run(done=1000, rate=1, cpu=1.032, server=2.016), login)

    assert (result.cpu, result.server) == pytest.approx((1.0, 2.0))


def test_an_engine_beside_the_fleet_differs_in_the_settings_named_alone() -> None:
    ini = "[pgbouncer]\npkt_buf = 4096\nverbose = 0\n\n[databases]\n%include hosts.ini\n"

    assert peers.with_settings(ini, {"pkt_buf": "65536", "so_reuseport": "0"}) == (
        "[pgbouncer]\npkt_buf = 65536\nso_reuseport = 0\nverbose = 0\n\n[databases]\n%include hosts.ini\n"
    )
