"""The protocol as the agent speaks it, against a server that answers what a test tells it, byte by byte."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import secrets
import struct
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pooler import scram
from pooler.agent import wire
from pooler.agent.wire import Session, Table
from pooler.errors import PoolerError

Conversation = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

WELCOME = b"R" + struct.pack("!II", 8, 0) + b"Z" + struct.pack("!I", 5) + b"I"


def message(kind: bytes, body: bytes) -> bytes:
    return kind + struct.pack("!I", len(body) + 4) + body


def columns(*names: str) -> bytes:
    return message(b"T", struct.pack("!H", len(names)) + b"".join(name.encode() + b"\0" + bytes(18) for name in names))


def row(*values: str | None) -> bytes:
    parts = [struct.pack("!i", -1) if v is None else struct.pack("!i", len(v.encode())) + v.encode() for v in values]
    return message(b"D", struct.pack("!H", len(values)) + b"".join(parts))


def error(text: str, severity: str = "ERROR") -> bytes:
    return message(b"E", f"S{severity}\0M{text}\0\0".encode())


READY = message(b"Z", b"I")
DONE = message(b"C", b"SHOW\0")


def talk(path: Path, answer: bytes, do: Callable[[Session], Awaitable[object]], welcome: bytes = WELCOME) -> object:
    """Log in to a server that says `welcome` to the login and `answer` to the first query."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1 << 16)
        writer.write(welcome)
        if await reader.read(1 << 16):
            # In pieces, as a network may cut it.
            for at in range(0, len(answer), 7):
                writer.write(answer[at : at + 7])
                await writer.drain()
        writer.close()

    async def main() -> object:
        server = await asyncio.start_unix_server(serve, path)
        async with server, asyncio.timeout(10):
            session = await wire.over_socket(str(path), "me", "db")
            try:
                return await do(session)
            finally:
                session.close()

    return asyncio.run(main())


def test_rows_are_read_by_the_names_of_their_columns(tmp_path: Path) -> None:
    answer = columns("name", "host", "paused") + row("app", None, "1") + row("b", "é", "0") + DONE + READY

    async def ask(session: Session) -> Table:
        (table,) = await session.ask("SHOW DATABASES")
        return table

    table = talk(tmp_path / "s", answer, ask)
    assert isinstance(table, Table)
    assert table.picked("paused", "host") == [("1", ""), ("0", "é")]
    with pytest.raises(PoolerError, match="no column no such"):
        table.picked("paused", "no such")


def test_several_questions_are_answered_in_their_order(tmp_path: Path) -> None:
    answer = b"".join(columns("a") + row(text) + DONE + READY for text in ("1", "2"))

    async def ask(session: Session) -> list[tuple[str, ...]]:
        return [table.first() for table in await session.ask("SHOW A", "SHOW B")]

    assert talk(tmp_path / "s", answer, ask) == [("1",), ("2",)]


def test_a_question_waits_for_the_answer_to_the_one_before(tmp_path: Path) -> None:
    """A console that has not got rid of a long answer mixes the next one into it."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        (size,) = struct.unpack("!I", await reader.readexactly(4))
        await reader.readexactly(size - 4)
        writer.write(message(b"R", struct.pack("!I", 0)) + READY)
        for _question in range(2):
            heard = await reader.read(1000)
            writer.write(columns("asked") + row(str(heard.count(b"SHOW"))) + DONE + READY)
        writer.close()

    async def main() -> list[tuple[str, ...]]:
        async with await asyncio.start_unix_server(serve, tmp_path / "s"), asyncio.timeout(10):
            session = await wire.over_socket(str(tmp_path / "s"), "me", "db")
            try:
                return [table.first() for table in await session.ask("SHOW A", "SHOW B")]
            finally:
                session.close()

    assert asyncio.run(main()) == [("1",), ("1",)]


def test_questions_go_with_the_login_and_a_session_ends_with_a_good_bye(tmp_path: Path) -> None:
    heard: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        (size,) = struct.unpack("!I", await reader.readexactly(4))
        await reader.readexactly(size - 4)
        asked = [message(b"Q", b"SHOW A\0"), message(b"Q", b"SHOW B\0")]
        heard.append(await reader.readexactly(sum(map(len, asked))))
        writer.write(WELCOME + b"".join(columns("a") + row(text) + DONE + READY for text in ("1", "2")))
        heard.append(await reader.read())
        writer.close()

    async def main() -> list[tuple[str, ...]]:
        async with await asyncio.start_unix_server(serve, tmp_path / "s"), asyncio.timeout(10):
            session = await wire.over_socket(str(tmp_path / "s"), "me", "db", "SHOW A", "SHOW B")
            tables = await session.told(2)
            session.close()
            while len(heard) < 2:
                await asyncio.sleep(0)
            return [table.first() for table in tables]

    assert asyncio.run(main()) == [("1",), ("2",)]
    assert heard == [message(b"Q", b"SHOW A\0") + message(b"Q", b"SHOW B\0"), message(b"X", b"")]


@pytest.mark.parametrize("severity", ["ERROR", "FATAL"])
def test_a_refusal_is_told_in_the_servers_words(tmp_path: Path, severity: str) -> None:
    with pytest.raises(PoolerError, match="not paused"):
        talk(tmp_path / "s", error("database is not paused", severity) + READY, lambda session: session.ask("RESUME x"))


def test_a_refused_login_is_told(tmp_path: Path) -> None:
    with pytest.raises(PoolerError, match="login rejected"):
        talk(tmp_path / "s", b"", lambda session: session.ask("x"), error("login rejected", "FATAL"))


def test_a_server_that_wants_a_password_is_told_that_there_is_none(tmp_path: Path) -> None:
    with pytest.raises(PoolerError, match="me is asked for a password"):
        talk(tmp_path / "s", b"", lambda session: session.ask("x"), message(b"R", struct.pack("!I", 10)))


def test_a_server_that_hangs_up_is_no_answer(tmp_path: Path) -> None:
    with pytest.raises(PoolerError, match="closed the connection"):
        talk(tmp_path / "s", columns("a") + row("1"), lambda session: session.ask("SHOW A"))


@pytest.mark.parametrize("nonsense", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"R\0\0\0\1", b"R\xff\xff\xff\xff"])
def test_what_is_no_postgresql_is_told_so(tmp_path: Path, nonsense: bytes) -> None:
    with pytest.raises(PoolerError, match="no PostgreSQL answers there"):
        talk(tmp_path / "s", b"", lambda session: session.ask("x"), nonsense)


def test_nobody_listening_is_told(tmp_path: Path) -> None:
    with pytest.raises(PoolerError, match="No such file"):
        asyncio.run(wire.over_socket(str(tmp_path / "none"), "me", "db"))


@given(st.lists(st.one_of(st.none(), st.text(max_size=5)), min_size=1, max_size=5), st.data())
def test_any_row_is_taken_apart_as_it_was_put_together(values: list[str | None], data: st.DataObject) -> None:
    names = tuple(f"c{number}" for number in range(len(values)))
    wanted = data.draw(st.lists(st.sampled_from(names), min_size=2))
    table = Table(names, (row(*values)[5:],))
    texts = dict(zip(names, ("" if value is None else value for value in values), strict=True))
    assert table.picked(*wanted) == [tuple(texts[name] for name in wanted)]


def scram_server(secret: str, *, knows: bool = True, mechanisms: bytes = b"SCRAM-SHA-256\0\0") -> Conversation:
    """What PostgreSQL does with `secret`; one that does not know it lets everybody in."""
    known = scram.parse(scram.verifier(secret))

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1 << 16)
        writer.write(message(b"R", struct.pack("!I", 10) + mechanisms))
        if not (first := await reader.read(1 << 16)):
            return
        bare = first[first.index(b"n=,r=") :].decode()
        challenge = f"r={bare.removeprefix('n=,r=')}more,s={base64.b64encode(known.salt).decode()},i={known.iterations}"
        writer.write(message(b"R", struct.pack("!I", 11) + challenge.encode()))
        final = (await reader.read(1 << 16))[5:].decode()
        without_proof, _comma, proof = final.rpartition(",p=")
        said = ",".join((bare, challenge, without_proof)).encode()
        signature = hmac.digest(known.stored_key, said, "sha256")
        key = bytes(a ^ b for a, b in zip(base64.b64decode(proof), signature, strict=True))
        if knows and hashlib.sha256(key).digest() != known.stored_key:
            writer.write(error("password authentication failed", "FATAL"))
        else:
            proven = base64.b64encode(hmac.digest(known.server_key, said, "sha256")).decode()
            writer.write(message(b"R", struct.pack("!I", 12) + f"v={proven}".encode()) + WELCOME)
        await reader.read(1 << 16)
        writer.close()

    return converse


def log_in(path: Path, converse: Conversation, password: str | None) -> None:
    """As over TCP; the TLS before it is the standard library's."""

    async def main() -> None:
        ended = asyncio.Event()

        async def served(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await converse(reader, writer)
            ended.set()

        async with await asyncio.start_unix_server(served, path), asyncio.timeout(10):
            reader, writer = await asyncio.open_unix_connection(path)
            try:
                await wire._logged_in(reader, writer, {"user": "me", "database": "db"}, password)
            finally:
                writer.close()
                await ended.wait()

    asyncio.run(main())


def test_a_password_is_proved_and_not_sent(tmp_path: Path) -> None:
    password = secrets.token_hex(12)
    heard = b""
    server = scram_server(password)

    async def listening(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        read = reader.read

        async def note(size: int = -1) -> bytes:
            nonlocal heard
            found = await read(size)
            heard += found
            return found

        reader.read = note  # type: ignore[assignment,method-assign]
        await server(reader, writer)

    log_in(tmp_path / "s", listening, password)
    assert b"SCRAM-SHA-256" in heard
    assert password.encode() not in heard


def test_a_wrong_password_is_told_in_the_words_of_the_server(tmp_path: Path) -> None:
    with pytest.raises(PoolerError, match="password authentication failed"):
        log_in(tmp_path / "s", scram_server(secrets.token_hex(12)), secrets.token_hex(12))


def test_a_server_that_does_not_know_the_password_is_none_of_ours(tmp_path: Path) -> None:
    with pytest.raises(PoolerError, match="the server does not know the password"):
        log_in(tmp_path / "s", scram_server(secrets.token_hex(12), knows=False), secrets.token_hex(12))


def test_who_has_no_password_says_so(tmp_path: Path) -> None:
    with pytest.raises(PoolerError, match="me is asked for a password, and has none"):
        log_in(tmp_path / "s", scram_server("x"), None)


@pytest.mark.parametrize("asked", [3, 5])
def test_no_password_goes_to_a_server_that_asks_for_the_password_itself(tmp_path: Path, asked: int) -> None:
    heard: list[bytes] = []

    async def server(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1 << 16)
        writer.write(message(b"R", struct.pack("!I", asked) + b"salt"))
        heard.append(await reader.read(1 << 16))
        writer.close()

    with pytest.raises(PoolerError, match="otherwise than by SCRAM-SHA-256"):
        log_in(tmp_path / "s", server, secrets.token_hex(12))
    assert heard == [b""]
