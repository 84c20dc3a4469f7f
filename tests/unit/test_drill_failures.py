"""Kinds of failures, from what drivers and the system raise."""

from __future__ import annotations

import errno
import ssl

import asyncpg
import pytest

from pooler.drill.failures import LOST, Kind, classify, describe


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (TimeoutError(), Kind.HUNG),
        (ConnectionRefusedError(errno.ECONNREFUSED, "Connect call failed ('10.77.3.12', 6432)"), Kind.REFUSED),
        (ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"), Kind.CLOSED),
        (BrokenPipeError(errno.EPIPE, "Broken pipe"), Kind.CLOSED),
        (EOFError("closed without an answer"), Kind.CLOSED),
        (ssl.SSLEOFError(8, "EOF occurred in violation of protocol"), Kind.CLOSED),
        (asyncpg.InterfaceError("connection is closed"), Kind.CLOSED),
        (asyncpg.ConnectionDoesNotExistError("connection was closed in the middle of operation"), Kind.CLOSED),
        (
            asyncpg.ConnectionDoesNotExistError(
                "connection was closed in the middle of operation: server shutting down"
            ),
            Kind.SHUTTING_DOWN,
        ),
        (asyncpg.ProtocolViolationError("server shutting down"), Kind.SHUTTING_DOWN),
        (asyncpg.ProtocolViolationError("pooler is shut down"), Kind.SHUTTING_DOWN),
        (asyncpg.InternalClientError("cannot switch to state 11; another operation (2) is in progress"), Kind.CLOSED),
        (asyncpg.InvalidPasswordError("password authentication failed"), Kind.OTHER),
        (OSError(errno.EHOSTUNREACH, "No route to host"), Kind.OTHER),
    ],
    ids=lambda value: str(value)[:40],
)
def test_each_error_has_its_kind(error: Exception, kind: Kind) -> None:
    assert classify(error) is kind


def test_an_error_that_the_client_can_go_on_after_is_no_lost_connection() -> None:
    assert {Kind.CLOSED, Kind.SHUTTING_DOWN} == LOST


def test_an_error_without_words_is_described_by_its_class() -> None:
    assert describe(TimeoutError()) == "TimeoutError"
    assert describe(OSError(errno.EPIPE, "Broken\npipe")) == "BrokenPipeError: [Errno 32] Broken pipe"
