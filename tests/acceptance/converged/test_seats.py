"""Who comes to the console, by what, and who does not."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime

import psycopg
import pytest

from pooler.certificates import new_authority
from tests.acceptance import clients
from tests.acceptance.scenario import CONSOLES, PORT, Scenario
from tests.acceptance.variables import OPERATOR, WATCHER


def test_a_certificate_opens_the_seat_of_its_name_alone(lab: Scenario) -> None:
    shown = clients.certificate(lab, WATCHER)
    with clients.console(lab, CONSOLES[1], WATCHER, **shown) as connection:
        assert connection.execute("SHOW POOLS").fetchall()
    with pytest.raises(psycopg.OperationalError, match=r"SASL authentication|no password supplied"):
        clients.console(lab, CONSOLES[1], OPERATOR, **shown)


def test_the_console_is_reached_through_the_shared_port_as_well(lab: Scenario) -> None:
    with clients.connect(lab, WATCHER, "pgbouncer", port=PORT, **clients.certificate(lab, WATCHER)) as connection:
        assert connection.execute("SHOW VERSION").fetchone()


def test_whoever_has_no_certificate_of_that_name_is_refused(lab: Scenario) -> None:
    for options in ({"password": secrets.token_hex(12)}, {"password": ""}, clients.certificate(lab, OPERATOR)):
        with pytest.raises(psycopg.OperationalError, match="certificate authentication failed"):
            clients.console(lab, CONSOLES[0], WATCHER, **options)


def test_the_same_name_by_another_authority_is_refused(lab: Scenario) -> None:
    # An authority may call itself as it likes.
    other = clients.certificate(lab, WATCHER, new_authority("pgfleet", now=datetime.now(UTC)))
    with pytest.raises(psycopg.OperationalError, match=r"unknown ca|SSL|EOF|server closed|reset"):
        clients.console(lab, CONSOLES[0], WATCHER, **other)


def test_a_certificate_for_the_console_opens_no_database(lab: Scenario) -> None:
    with pytest.raises(psycopg.OperationalError, match=r"SASL authentication failed|no password supplied"):
        clients.connect(lab, WATCHER, "app", **clients.certificate(lab, WATCHER))
