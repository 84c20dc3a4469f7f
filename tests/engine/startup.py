"""A startup packet with any parameters, over TLS, and the first word of the answer."""

from __future__ import annotations

import socket
import ssl
import struct

_PROTOCOL, _TLS = 3 << 16, 80877103


def greet(connected: socket.socket, user: str, database: str, **parameters: str) -> str:
    """ "sasl" when it is asked for a password, or the error's text. Ends the connection."""
    connected.settimeout(10)
    connected.sendall(struct.pack("!II", 8, _TLS))
    assert connected.recv(1) == b"S"
    # Whether it is the right server is not what is looked at here.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with context.wrap_socket(connected) as client:
        said = {"user": user, "database": database, **parameters}
        body = struct.pack("!I", _PROTOCOL) + b"".join(f"{k}\0{v}\0".encode() for k, v in said.items()) + b"\0"
        client.sendall(struct.pack("!I", len(body) + 4) + body)
        with client.makefile("rb") as answers:
            kind, size = struct.unpack("!cI", answers.read(5))
            answer = answers.read(size - 4)
    if kind == b"R":
        return {10: "sasl"}[struct.unpack("!I", answer[:4])[0]]
    assert kind == b"E", kind
    return next(part[1:].decode() for part in answer.split(b"\0") if part[:1] == b"M")
