"""Ports as strangers find them: the certificate that is shown, and what is asked of somebody who wants to log in."""

from __future__ import annotations

import asyncio
import contextlib
import os
import ssl
import struct
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace

from ..errors import PoolerError
from ..metrics.expiry import of_certificate
from .facts import Door

SECONDS = 3.0
"""For one port."""

SCRAM = "SCRAM-SHA-256"
NOTHING = "nothing"

_SSL_REQUEST = struct.pack("!II", 8, 80877103)
_PROTOCOL = 3 << 16
_ASKED = {0: NOTHING, 3: "the password as it is", 5: "an MD5 digest"}


@dataclass(frozen=True)
class Port:
    """`postgresql`: TLS begins when it has been asked for by a message of PostgreSQL's protocol."""

    name: str
    host: str
    number: int
    wanted: tuple[str, ...]
    postgresql: bool


async def look(port: Port, authority: str, leaf: tuple[str, str] | None = None) -> Door:
    """Its certificate, held against the authority in a file. `leaf` is shown to a port that asks for one."""
    door = Door(port.name, port.wanted)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    tls.check_hostname = False
    try:
        tls.load_verify_locations(authority)
        if leaf:
            tls.load_cert_chain(*leaf)
    except OSError as error:
        return replace(door, error=f"{authority}: {error.strerror or error}")
    try:
        return await _shown(port, tls, door)
    except ssl.SSLCertVerificationError as error:
        door = replace(door, untrusted=error.verify_message)
    except (OSError, EOFError, PoolerError, TimeoutError) as error:
        return replace(door, error=_words(error))
    tls.verify_mode = ssl.CERT_NONE
    try:
        return await _shown(port, tls, door)
    except (OSError, EOFError, PoolerError, TimeoutError) as error:
        return replace(door, error=_words(error))


async def asked(host: str, port: int, user: str, database: str, more: tuple[str, str] | None) -> str:
    """What a stranger has to show, or the words of a refusal. `more` is one more parameter of the connection's start.

    The connection ends there. Raises PoolerError when there is nobody who answers.
    """
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    tls.check_hostname, tls.verify_mode = False, ssl.CERT_NONE
    try:
        async with _open(host, port, tls, postgresql=True) as (reader, writer):
            pairs = {"user": user, "database": database} | (dict([more]) if more else {})
            body = "".join(f"{name}\0{value}\0" for name, value in pairs.items()).encode() + b"\0"
            writer.write(struct.pack("!II", len(body) + 8, _PROTOCOL) + body)
            kind, size = struct.unpack("!cI", await reader.readexactly(5))
            body = await reader.readexactly(min(size - 4, 1 << 16))
    except (OSError, EOFError, TimeoutError) as error:
        raise PoolerError(_words(error)) from None
    if kind == b"R" and len(body) >= 4:
        number = int.from_bytes(body[:4], "big")
        mechanisms = body[4:].decode("ascii", "replace").strip("\0").split("\0")
        return " or ".join(mechanisms) if number == 10 else _ASKED.get(number, f"something else ({number})")
    if kind == b"E":
        fields = {field[:1]: field[1:].decode("utf-8", "replace") for field in body.split(b"\0") if field}
        return fields.get(b"M", "an error without a word")
    raise PoolerError("no PostgreSQL answers there")


async def _shown(port: Port, tls: ssl.SSLContext, door: Door) -> Door:
    async with _open(port.host, port.number, tls, postgresql=port.postgresql) as (_reader, writer):
        session = writer.get_extra_info("ssl_object")
        der = session.getpeercert(binary_form=True)
        names = tuple(name for _kind, name in (session.getpeercert() or {}).get("subjectAltName", ()))
    return replace(door, names=names, expiry=of_certificate(der) if der else None)


@contextlib.asynccontextmanager
async def _open(
    host: str, port: int, tls: ssl.SSLContext, *, postgresql: bool
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    async with asyncio.timeout(SECONDS):
        reader, writer = await asyncio.open_connection(host, port, ssl=None if postgresql else tls)
        try:
            if postgresql:
                writer.write(_SSL_REQUEST)
                if await reader.readexactly(1) != b"S":
                    raise PoolerError("speaks no TLS")
                await writer.start_tls(tls, server_hostname=host)
            yield reader, writer
        finally:
            writer.transport.abort()


def _words(error: BaseException) -> str:
    if isinstance(error, TimeoutError):
        return f"no answer within {SECONDS:g} s"
    if isinstance(error, EOFError):
        return "hangs up"
    if isinstance(error, OSError) and error.errno and not isinstance(error, ssl.SSLError):
        return os.strerror(error.errno)
    return str(error) or type(error).__name__
