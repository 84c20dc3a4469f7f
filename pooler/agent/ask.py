"""Asks the agent beside it how the host is: `python3 -m pooler.agent.ask /ready`; exit status 0 means yes.

A probe runs every few seconds, so it imports next to nothing. It does not look at the agent's certificate: both are in
one network namespace, and a certificate that has ended is no reason to start the agent anew.
"""

from __future__ import annotations

import json
import socket
import ssl
import sys
from pathlib import Path

SECONDS = 3.0
_CONFIG = "/etc/pgbouncer/agent/agent.json"


def main(path: str, config: str = _CONFIG) -> int:
    """Prints why not."""
    try:
        status, body = ask(path, config)
    except (OSError, ValueError) as error:
        print(f"the agent does not answer: {error}")
        return 1
    if status != 200:
        print(body)
    return 0 if status == 200 else 1


def ask(path: str, config: str = _CONFIG) -> tuple[int, str]:
    """Status and body of the agent's answer. Raises OSError or ValueError when there is none."""
    told = json.loads(Path(config).read_text(encoding="utf-8"))
    listen = [address for address in told["listen"] if address not in ("*", "0.0.0.0", "::")]
    host = listen[0] if listen else "127.0.0.1"
    with socket.create_connection((host, told["health_port"]), timeout=SECONDS) as plain:
        connection = _unverified().wrap_socket(plain) if told["tls"] else plain
        connection.sendall(f"GET {path} HTTP/1.0\r\n\r\n".encode())
        answer = b""
        while piece := connection.recv(1 << 16):
            answer += piece
    head, _end, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), body.decode("utf-8", "replace")


def _unverified() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
