"""HTTP/1.1 over TLS on asyncio: small requests, answers in JSON, connections that are kept and whose end is told."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Any

from ..errors import PoolerError

IDLE_SECONDS = 120.0
REQUEST_SECONDS = 10.0
CONNECTIONS = 100
"""At once; further ones are closed as they come."""

_HEAD = 16 << 10
_BODY = 64 << 10

# A peer that is gone without a word is noticed within six seconds: it may hold us.
_KEEPALIVE = ((socket.TCP_KEEPIDLE, 3), (socket.TCP_KEEPINTVL, 1), (socket.TCP_KEEPCNT, 3))


@dataclass(frozen=True)
class Request:
    """`connection` is the same object for all requests of one connection. `who` is the CN of a certificate shown."""

    method: str
    path: str
    body: Mapping[str, Any]
    who: str | None
    connection: object


@dataclass(frozen=True)
class Answer:
    """`text` is sent instead of the body, piece by piece as it comes; `content_type` says what it is."""

    status: int = 200
    body: Mapping[str, Any] = field(default_factory=dict)
    text: AsyncGenerator[bytes] | None = None
    content_type: str = "application/json"


def context(leaf: str) -> ssl.SSLContext:
    """Our certificate is shown; one of the same authority may be shown to us."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    made.load_cert_chain(Path(leaf, "tls.crt"), Path(leaf, "tls.key"))
    made.load_verify_locations(Path(leaf, "ca.crt"))
    made.verify_mode = ssl.CERT_OPTIONAL
    return made


class Server:
    """`answer` is called with each request, `gone` with the connection when it has ended."""

    def __init__(self, answer: Callable[[Request], Awaitable[Answer]], gone: Callable[[object], None]) -> None:
        self._answer = answer
        self._gone = gone
        self._open = 0

    async def start(self, listen: tuple[str, ...], port: int, tls: ssl.SSLContext | None) -> asyncio.Server:
        """Raises PoolerError when the port cannot be had."""
        hosts = None if "*" in listen else list(listen)
        try:
            return await asyncio.start_server(self._serve, hosts, port, ssl=tls, limit=_HEAD, backlog=CONNECTIONS)
        except OSError as error:
            raise PoolerError(f"port {port}: {error.strerror or error}") from None

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = object()
        self._open += 1
        try:
            if self._open <= CONNECTIONS:
                await self._requests(reader, writer, connection)
        except (OSError, EOFError, TimeoutError, asyncio.LimitOverrunError):
            pass  # the other side's affair; what it held is let go below
        finally:
            self._open -= 1
            self._gone(connection)
            writer.close()

    async def _requests(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, connection: object) -> None:
        plain = writer.get_extra_info("socket")
        with contextlib.suppress(OSError):
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            for option, seconds in _KEEPALIVE:
                plain.setsockopt(socket.IPPROTO_TCP, option, seconds)
        who = _common_name(writer.get_extra_info("peercert") or {})
        while True:
            async with asyncio.timeout(IDLE_SECONDS):
                first = await reader.readuntil(b"\r\n")
            async with asyncio.timeout(REQUEST_SECONDS):
                head = first + (b"" if first == b"\r\n" else await _headers(reader))
                method, path, version, headers = _head(head)
                size = int(headers.get("content-length", "0"))
                if not 0 <= size <= _BODY:
                    raise EOFError
                text = await reader.readexactly(size)
            keep = version == "HTTP/1.1" and headers.get("connection", "").lower() != "close"
            body = _object(text)
            if body is None:
                answer = Answer(400, {"error": "the body is no JSON object"})
            else:
                answer = await self._answer(Request(method, path, body, who, connection))
            async with asyncio.timeout(REQUEST_SECONDS):
                if answer.text is None:
                    writer.write(_spelled(answer, keep=keep, body=method != "HEAD"))
                    await writer.drain()
                else:
                    async with contextlib.aclosing(answer.text) as pieces:
                        await _send(
                            answer, pieces, writer, keep=keep, chunked=version == "HTTP/1.1", body=method != "HEAD"
                        )
            if not keep:
                return


async def _headers(reader: asyncio.StreamReader) -> bytes:
    """The lines up to the empty one."""
    lines = b""
    while not lines.endswith(b"\r\n\r\n") and lines != b"\r\n":
        lines += await reader.readuntil(b"\r\n")
        if len(lines) > _HEAD:
            raise EOFError
    return lines


def _head(head: bytes) -> tuple[str, str, str, dict[str, str]]:
    first, *lines = head.decode("latin-1").split("\r\n")
    words = first.split(" ")
    if len(words) != 3 or not words[2].startswith("HTTP/1."):
        raise EOFError
    headers = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if colon:
            headers[name.strip().lower()] = value.strip()
    if "transfer-encoding" in headers or not headers.get("content-length", "0").isdecimal():
        raise EOFError
    return words[0], words[1].split("?")[0], words[2], headers


def _object(text: bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(text or b"{}")
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


async def _send(
    answer: Answer, pieces: AsyncIterator[bytes], writer: asyncio.StreamWriter, *, keep: bool, chunked: bool, body: bool
) -> None:
    """Not faster than it is read, so that a long text is never in memory as a whole (chunks: RFC 9112, 7.1).

    Who speaks HTTP/1.0 knows by the end of the connection that it is over.
    """
    writer.write(_first_lines(answer, ("Transfer-Encoding: chunked",) if chunked else (), keep=keep))
    if body:
        async for piece in pieces:
            writer.write(b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece)
            await writer.drain()
        if chunked:
            writer.write(b"0\r\n\r\n")
    await writer.drain()


def _spelled(answer: Answer, *, keep: bool, body: bool) -> bytes:
    text = json.dumps(answer.body).encode() + b"\n"
    return _first_lines(answer, (f"Content-Length: {len(text)}",), keep=keep) + (text if body else b"")


def _first_lines(answer: Answer, size: tuple[str, ...], *, keep: bool) -> bytes:
    """`size` is the header that says where the body ends."""
    lines = (
        f"HTTP/1.1 {answer.status} {HTTPStatus(answer.status).phrase}",
        f"Content-Type: {answer.content_type}",
        *size,
        f"Connection: {'keep-alive' if keep else 'close'}",
    )
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def _common_name(certificate: Mapping[str, Any]) -> str | None:
    names = [value for part in certificate.get("subject", ()) for key, value in part if key == "commonName"]
    return names[0] if names else None
