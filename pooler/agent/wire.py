"""PostgreSQL's protocol 3.0 on asyncio, as much of it as an agent needs: a login, simple queries.

Consoles and pools are asked several times a second over connections of a moment, for which a driver is too heavy.
Numbers and letters are those of the PostgreSQL manual, "Message Formats".
"""

from __future__ import annotations

import asyncio
import hmac
import operator
import ssl
import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

from ..errors import PoolerError
from .local import Local
from .scram_login import MECHANISM, Login

_PROTOCOL = 3 << 16
_SSL_REQUEST = struct.pack("!II", 8, 80877103)
_CANCEL_REQUEST = 80877102
_TERMINATE = b"X\0\0\0\4"
_LENGTH = struct.Struct("!I")
_SIGNED = struct.Struct("!i")
_AUTHENTICATED, _SASL, _SASL_CONTINUE, _SASL_FINAL = 0, 10, 11, 12
_CHUNK = 1 << 16
_AT_MOST = 1 << 20
"""Bytes of one message: more is no answer of a server."""


@dataclass(frozen=True)
class Table:
    """One answer: the names of the columns, and each row undecoded as it was sent."""

    columns: tuple[str, ...] = ()
    rows: tuple[bytes, ...] = ()

    def picked(self, *names: str) -> list[tuple[str, ...]]:
        """Of every row these columns, two or more, in this order. Raises PoolerError when there is no such column."""
        if missing := [name for name in names if name not in self.columns]:
            raise PoolerError(f"the answer has no column {', '.join(missing)}")
        indexes = [self.columns.index(name) for name in names]
        pick, last = operator.itemgetter(*indexes), max(indexes)
        return [pick(_values(row, last)) for row in self.rows]

    def named(self) -> list[dict[str, str]]:
        """Every row, each by the names of the columns. Raises PoolerError for what is no table."""
        if not self.columns:
            raise PoolerError("the answer has no columns")
        # One more than there are, for an answer may have only one.
        return [dict(zip(self.columns, row, strict=False)) for row in self.picked(*self.columns, self.columns[0])]

    def pairs(self, key: str, value: str) -> dict[str, str]:
        """One column by another. Raises PoolerError when there is no such column."""
        return {row[0]: row[1] for row in self.picked(key, value)}

    def first(self) -> tuple[str, ...]:
        """The first row. Raises PoolerError when there is none, or nothing in it."""
        if not self.rows or not self.columns:
            raise PoolerError("the answer has no row and column")
        return tuple(_values(self.rows[0], len(self.columns) - 1))


class Reader(Protocol):
    async def read(self, size: int, /) -> bytes: ...


class Writer(Protocol):
    def write(self, data: bytes, /) -> None: ...

    def close(self) -> None: ...


class Session:
    """A connection after its login. Every method raises PoolerError with the server's words, or why there are none.

    After an error that is not the answer to a query the session is of no use any more. Nothing here has a time limit:
    the caller sets it (`asyncio.timeout`) and closes.
    """

    def __init__(self, reader: Reader, writer: Writer) -> None:
        self._reader = reader
        self._writer = writer
        self._buffer = b""
        self._at = 0
        self.key = b""
        """With which its query can be cancelled over another connection."""

    async def ask(self, *queries: str) -> list[Table]:
        """One query after the other. Raises after the answers of all when one of them is an error.

        A console that is sent a query before it has got rid of a long answer mixes it with the next one (seen on
        1.24.1 with a thousand databases): it sends both at once, piece by piece, as there is room.
        """
        answers = []
        for query in queries:
            self.send(query)
            answers.append(await self.answer())
        return _unless_refused(answers)

    async def tell(self, *commands: str) -> None:
        """The same with all of them sent at once: for commands, whose answers are short."""
        self.send(*commands)
        await self.told(len(commands))

    def send(self, *queries: str) -> None:
        """Without waiting for anything."""
        self._writer.write(_spelled(queries))

    async def told(self, count: int) -> list[Table]:
        """The next answers to what was sent. Raises after all of them when one is an error."""
        return _unless_refused(await self.answers(count))

    async def answers(self, count: int) -> list[tuple[Table, str]]:
        """The same, and a refusal is an answer."""
        return [await self.answer() for _answer in range(count)]

    async def answer(self) -> tuple[Table, str]:
        """The next answer to a query, and the server's refusal, empty when there is none."""
        columns: tuple[str, ...] = ()
        rows: list[bytes] = []
        refusal = ""
        while True:
            kind, body = self._take() or await self._next()
            if kind == b"D":
                rows.append(body)
            elif kind == b"T":
                columns = _columns(body)
            elif kind == b"E":
                refusal, severity = _error(body)
                if severity in ("FATAL", "PANIC"):
                    raise PoolerError(refusal)
            elif kind == b"Z":
                return Table(columns, tuple(rows)), refusal

    async def quiet(self, seconds: float) -> bool:
        """Wait so long; False as soon as the server says something or hangs up, which it does to say good-bye."""
        try:
            async with asyncio.timeout(seconds):
                while True:
                    kind, _body = await self._next()
                    if kind not in (b"S", b"N"):
                        return False
        except TimeoutError:
            return True
        except PoolerError:
            return False

    def close(self) -> None:
        """At once, with a good-bye. What was sent before is still delivered."""
        self._writer.write(_TERMINATE)
        self._writer.close()

    async def _next(self) -> tuple[bytes, bytes]:
        message = self._take()
        while message is None:
            try:
                more = await self._reader.read(_CHUNK)
            except OSError as error:
                raise PoolerError(_words(error)) from None
            if not more:
                raise PoolerError("the server has closed the connection")
            self._buffer = self._buffer[self._at :] + more
            self._at = 0
            message = self._take()
        return message

    def _take(self) -> tuple[bytes, bytes] | None:
        """The next message, if it has come as a whole. Thousands of them come in one piece."""
        buffer, at = self._buffer, self._at
        if len(buffer) < at + 5:
            return None
        size = int.from_bytes(buffer[at + 1 : at + 5], "big")
        if not 4 <= size <= _AT_MOST:
            raise PoolerError("no PostgreSQL answers there")
        end = at + 1 + size
        if len(buffer) < end:
            return None
        self._at = end
        return buffer[at : at + 1], buffer[at + 5 : end]


async def over_socket(path: str, user: str, database: str, *queries: str) -> Session:
    """Log in over a unix socket. Queries go with the login, which saves a round trip: they are yet to be `told`."""
    connection = Local()
    try:
        await connection.connect(path)
        return await _logged_in(connection, connection, {"user": user, "database": database}, queries=queries)
    except BaseException as error:
        connection.close()
        if isinstance(error, OSError):
            raise PoolerError(_words(error)) from None
        raise


async def cancel(path: str, key: bytes) -> None:
    """Ask over a unix socket that the query of the session with this key be cancelled; there is no answer to it."""
    connection = Local()
    try:
        await connection.connect(path)
        connection.write(struct.pack("!II", 8 + len(key), _CANCEL_REQUEST) + key)
    except OSError as error:
        raise PoolerError(_words(error)) from None
    finally:
        connection.close()


async def over_tls(
    host: str, port: int, tls: ssl.SSLContext, parameters: Mapping[str, str], password: str | None = None
) -> Session:
    """Log in over TCP and TLS: the server shows a certificate for `host`, and takes ours, or a password by SCRAM."""
    try:
        reader, writer = await asyncio.open_connection(host, port)
    except OSError as error:
        raise PoolerError(_words(error)) from None
    try:
        await _upgraded(reader, writer, tls, host)
        return await _logged_in(reader, writer, parameters, password)
    except BaseException as error:
        writer.close()
        if isinstance(error, (OSError, EOFError, ssl.CertificateError)):
            raise PoolerError(_words(error)) from None
        raise


async def certificate(host: str, port: int, tls: ssl.SSLContext, *, postgresql: bool) -> bytes:
    """What a port shows, in DER; of PostgreSQL TLS has to be asked for. Nobody logs in. Raises OSError, EOFError."""
    reader, writer = await asyncio.open_connection(host, port, ssl=None if postgresql else tls)
    try:
        if postgresql:
            await _upgraded(reader, writer, tls, host)
        return writer.get_extra_info("ssl_object").getpeercert(binary_form=True) or b""
    finally:
        writer.transport.abort()


async def _upgraded(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, tls: ssl.SSLContext, host: str) -> None:
    writer.write(_SSL_REQUEST)
    if await reader.readexactly(1) != b"S":
        raise PoolerError("the server does not speak TLS")
    await writer.start_tls(tls, server_hostname=host)


async def _logged_in(
    reader: Reader,
    writer: Writer,
    parameters: Mapping[str, str],
    password: str | None = None,
    queries: Sequence[str] = (),
) -> Session:
    session = Session(reader, writer)
    pairs = "".join(f"{name}\0{value}\0" for name, value in parameters.items()) + "\0"
    body = _LENGTH.pack(_PROTOCOL) + pairs.encode()
    writer.write(_LENGTH.pack(len(body) + 4) + body + _spelled(queries))
    while True:
        kind, body = session._take() or await session._next()  # the login is a part of this room
        if kind == b"Z":
            return session
        if kind == b"K":
            session.key = body
        if kind == b"E":
            raise PoolerError(_error(body)[0])
        if kind == b"R" and (asked := _LENGTH.unpack_from(body)[0]) != _AUTHENTICATED:
            if password is None:
                raise PoolerError(f"{parameters['user']} is asked for a password, and has none")
            if asked != _SASL or MECHANISM.encode() not in body[4:].split(b"\0"):
                raise PoolerError(f"{parameters['user']} is asked for a password otherwise than by {MECHANISM}")
            await _prove(session, writer, password)


async def _prove(session: Session, writer: Writer, password: str) -> None:
    """SCRAM: each side proves to the other that it knows the password, or what was made of it."""
    login = Login(password)
    first = login.first.encode()
    writer.write(_message(b"p", MECHANISM.encode() + b"\0" + _LENGTH.pack(len(first)) + first))
    answer = login.answer((await _challenge(session, _SASL_CONTINUE)).decode("utf-8", "replace"))
    writer.write(_message(b"p", answer.message.encode()))
    if not hmac.compare_digest(await _challenge(session, _SASL_FINAL), answer.expected.encode()):
        raise PoolerError("the server does not know the password that it asks for")


async def _challenge(session: Session, expected: int) -> bytes:
    kind, body = await session._next()
    if kind == b"E":
        raise PoolerError(_error(body)[0])
    if kind != b"R" or len(body) < 4 or _LENGTH.unpack_from(body)[0] != expected:
        raise PoolerError("the server breaks off the login by SCRAM without a word")
    return body[4:]


def _unless_refused(answers: list[tuple[Table, str]]) -> list[Table]:
    refusals = [refusal for _table, refusal in answers if refusal]
    if refusals:
        raise PoolerError("; ".join(refusals))
    return [table for table, _refusal in answers]


def _spelled(queries: Iterable[str]) -> bytes:
    return b"".join(_message(b"Q", query.encode() + b"\0") for query in queries)


def _message(kind: bytes, body: bytes) -> bytes:
    return kind + _LENGTH.pack(len(body) + 4) + body


@lru_cache(maxsize=32)
def _columns(body: bytes) -> tuple[str, ...]:
    """The same few tables are asked for again and again."""
    names = []
    at = 2
    try:
        while at < len(body):
            end = body.index(b"\0", at)
            names.append(body[at:end].decode())
            at = end + 1 + 18
    except ValueError:
        raise PoolerError("the answer's columns are garbled") from None
    return tuple(names)


def _values(row: bytes, last: int) -> list[str]:
    """The columns of a row up to and with the last one that is wanted."""
    values = []
    # Nearly all are ASCII: a piece of a text that is there costs less than a decoding.
    text = row.decode("latin-1")
    at = 2
    try:
        for _column in range(last + 1):
            (size,) = _SIGNED.unpack_from(row, at)
            at += 4
            end = at + max(size, 0)
            value = text[at:end]
            values.append(value if value.isascii() else row[at:end].decode("utf-8", "replace"))
            at = end
    except struct.error:
        raise PoolerError("the answer's rows are garbled") from None
    return values


def _error(body: bytes) -> tuple[str, str]:
    """The message of an error and its severity."""
    fields = {field[:1]: field[1:].decode("utf-8", "replace") for field in body.split(b"\0") if field}
    return fields.get(b"M", "an error without a word"), fields.get(b"V", fields.get(b"S", ""))


def _words(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror and not isinstance(error, ssl.SSLError):
        return error.strerror
    return str(error) or type(error).__name__
