"""Who is let in with a certificate: `python -m tests.drills.secrets.doors JSON`, in the lab's network.

At PostgreSQL's door a role logs in, at the others a question is answered. This side looks at nobody's certificate.
"""

from __future__ import annotations

import json
import socket
import ssl
import struct
import sys
from typing import Any

_TLS_PLEASE = struct.pack("!ii", 8, 80877103)
_LOGIN = b"\0\3\0\0" + b"user\0pgbouncer\0database\0postgres\0\0"
_LET_IN = b"R" + struct.pack("!ii", 8, 0)
"""PostgreSQL's AuthenticationOk."""


def refusal(host: str, port: int, protocol: str, leaf: str) -> str:
    """Why the leaf is refused, in the words of TLS or of the server; empty for one that is let in."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.load_cert_chain(f"{leaf}/tls.crt", f"{leaf}/tls.key")
    try:
        with socket.create_connection((host, port), 10) as plain:
            if protocol == "postgresql":
                plain.sendall(_TLS_PLEASE)
                plain.recv(1)
            with context.wrap_socket(plain) as secure:
                return _postgresql(secure) if protocol == "postgresql" else _http(secure)
    except OSError as error:
        return str(error)


def _postgresql(secure: ssl.SSLSocket) -> str:
    secure.sendall(struct.pack("!i", len(_LOGIN) + 4) + _LOGIN)
    answer = secure.recv(1000)
    return "" if answer.startswith(_LET_IN) else answer.decode(errors="replace") or "closed without a word"


def _http(secure: ssl.SSLSocket) -> str:
    secure.sendall(b"GET /health HTTP/1.1\r\nHost: drill\r\nConnection: close\r\n\r\n")
    answer = secure.recv(1000)
    return "" if answer.startswith(b"HTTP/1.") else "closed without a word"


def main(doors: list[dict[str, Any]]) -> list[str]:
    return [refusal(**door) for door in doors]


if __name__ == "__main__":
    print(json.dumps(main(json.loads(sys.argv[1]))))
