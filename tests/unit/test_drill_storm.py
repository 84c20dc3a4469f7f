"""Knocks at a port: what each way of not being let in is counted as."""

from __future__ import annotations

import asyncio
import secrets
import socket
import struct
from collections.abc import Awaitable, Callable

import pytest

from pooler.drill.book import Stream, Tally
from pooler.drill.failures import Kind
from pooler.drill.run import Run
from pooler.drill.settings import Settings
from pooler.drill.storm import knock

TURNS = 3
Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def answers(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    assert await reader.readexactly(8) == struct.pack("!II", 8, 80877103)
    writer.write(b"S")
    await writer.drain()
    await reader.read()


async def closes(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    await reader.readexactly(8)


async def resets(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    door = writer.get_extra_info("socket")
    door.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


async def is_silent(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    await reader.readexactly(8)
    await reader.read()


async def says_nonsense(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readexactly(8)
    writer.write(b"E")
    await writer.drain()
    await reader.read()


def test_an_answer_is_a_success() -> None:
    tally = knocks(answers)
    assert (tally.succeeded, tally.failed) == (TURNS, 0)


@pytest.mark.parametrize(
    ("serve", "kind"),
    [(closes, Kind.CLOSED), (resets, Kind.CLOSED), (is_silent, Kind.HUNG), (says_nonsense, Kind.OTHER)],
)
def test_no_answer_is_a_failure_of_its_kind(serve: Serve, kind: Kind) -> None:
    tally = knocks(serve)
    assert tally.succeeded == 0
    assert {kind: failures.count for kind, failures in tally.failures.items()} == {kind: TURNS}


def test_a_closed_port_is_a_refusal() -> None:
    tally = knocks(None)
    assert tally.failures[Kind.REFUSED].count == TURNS


def knocks(serve: Serve | None) -> Tally:
    """What is counted of some knocks at a port served like this; by nobody, when None."""

    async def serve_and_close(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert serve
        await serve(reader, writer)
        writer.close()

    async def go() -> Tally:
        with socket.socket() as door:
            door.bind(("127.0.0.1", 0))
            server = await asyncio.start_server(serve_and_close, sock=door) if serve else None
            run = Run(_settings(door.getsockname()[1]))
            await knock(run, 1)
            if server:
                server.close()
        return run.book.tallies[Stream.KNOCKS]

    return asyncio.run(go())


def _settings(port: int) -> Settings:
    return Settings(
        host="127.0.0.1",
        port=port,
        user="app",
        database="app",
        password=secrets.token_urlsafe(12),
        ca="",
        hung_after=0.2,
        knock_pause=0.0,
        most_turns=TURNS,
    )
