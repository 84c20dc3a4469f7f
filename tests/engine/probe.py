"""A login with a password that is wrong, byte by byte: what a pooler tells somebody who is not let in."""

from __future__ import annotations

import base64
import secrets
import socket
import ssl
import struct
from dataclasses import dataclass

_PROTOCOL, _TLS = 3 << 16, 80877103


@dataclass(frozen=True)
class Heard:
    """The iterations and the salt of the challenge, None without one; the error's fields by their letters."""

    iterations: int | None
    salt: bytes | None
    error: tuple[tuple[str, str], ...]

    @property
    def look(self) -> tuple[object, ...]:
        """What can be compared between users: all but the salt itself."""
        return self.iterations, None if self.salt is None else len(self.salt), self.error


class Login:
    """One login over `connected`, a fresh TCP connection."""

    def __init__(self, connected: socket.socket, user: str, database: str) -> None:
        connected.settimeout(10)
        connected.sendall(struct.pack("!II", 8, _TLS))
        assert connected.recv(1) == b"S"
        # Whether it is the right server is not what is looked at here.
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        self._connection = context.wrap_socket(connected)
        pairs = "".join(f"{key}\0{value}\0" for key, value in (("user", user), ("database", database))) + "\0"
        body = struct.pack("!I", _PROTOCOL) + pairs.encode()
        self._connection.sendall(struct.pack("!I", len(body) + 4) + body)
        self._error: tuple[tuple[str, str], ...] = ()

    def invited(self) -> bool:
        """Whether it is asked for SCRAM, rather than sent away."""
        message = self._read()
        return message is not None and message[:4] == struct.pack("!I", 10)

    def sent_away(self) -> Heard:
        return Heard(None, None, self._error)

    def finish(self) -> Heard:
        """The challenge, answered with a proof that is wrong."""
        nonce = secrets.token_hex(9)
        first = f"n,,n=,r={nonce}".encode()
        self._send(b"SCRAM-SHA-256\0" + struct.pack("!I", len(first)) + first)
        challenge = self._read()
        if challenge is None:
            return self.sent_away()
        assert challenge[:4] == struct.pack("!I", 11)
        parts = dict(part.split("=", 1) for part in challenge[4:].decode().split(","))
        proof = base64.b64encode(secrets.token_bytes(32)).decode()
        self._send(f"c=biws,r={parts['r']},p={proof}".encode())
        assert self._read() is None
        return Heard(int(parts["i"]), base64.b64decode(parts["s"]), self._error)

    def _send(self, body: bytes) -> None:
        self._connection.sendall(b"p" + struct.pack("!I", len(body) + 4) + body)

    def _read(self) -> bytes | None:
        """The body of an authentication request; None for an error, which ends it."""
        kind, size = struct.unpack("!cI", self._exactly(5))
        body = self._exactly(size - 4)
        if kind == b"R":
            return body
        assert kind == b"E", kind
        self._error = tuple((chr(part[0]), part[1:].decode()) for part in body.split(b"\0") if part)
        self._connection.close()
        return None

    def _exactly(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            more = self._connection.recv(size - len(data))
            assert more, "hung up without a word"
            data += more
        return data


def probe(connected: socket.socket, user: str, database: str) -> Heard:
    """One login from its beginning to its end."""
    login = Login(connected, user, database)
    return login.finish() if login.invited() else login.sent_away()
