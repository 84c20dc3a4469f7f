"""What kind of failure a client saw, from the error that its driver raised."""

from __future__ import annotations

import ssl
from enum import StrEnum


class Kind(StrEnum):
    """`SHUTTING_DOWN`: the engine said so before it closed. `CLOSED`: the connection ended without a word."""

    REFUSED = "refused"
    CLOSED = "reset or closed"
    SHUTTING_DOWN = "told of a shutdown"
    HUNG = "hung"
    OTHER = "other"


LOST = frozenset({Kind.CLOSED, Kind.SHUTTING_DOWN})
"""Kinds after which the connection is gone."""

_SHUTDOWN = ("shutting down", "shut down", "server shutdown", "terminating connection due to administrator")

_CLOSED = (
    "connection is closed",
    "connection lost",
    "connection reset",
    "connection was closed",
    "connection has been closed",
    "underlying connection is closed",
    "unexpected eof",
    "eof occurred",
    "ssl shutdown",
    "cannot switch to state",  # asyncpg, when a last message arrives where it expects none
)


def classify(error: BaseException) -> Kind:
    """Errors of a driver carry the engine's words; those of the system are known by their class."""
    words = f"{type(error).__name__}: {error}".lower()
    if isinstance(error, TimeoutError):
        return Kind.HUNG
    if isinstance(error, ConnectionRefusedError):
        return Kind.REFUSED
    if any(word in words for word in _SHUTDOWN):
        return Kind.SHUTTING_DOWN
    if isinstance(error, ConnectionError | EOFError | ssl.SSLEOFError) or any(word in words for word in _CLOSED):
        return Kind.CLOSED
    return Kind.OTHER


def describe(error: BaseException) -> str:
    """One line that names the class as well: many errors of the system have no words of their own."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:200].rstrip(": ")
