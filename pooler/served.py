"""Which certificate a port shows: a handshake and nothing more. Nobody is trusted by it, so nothing is said after it.

Needs the standard library alone, and no other file of ours: it is also run from its text, in any container with Python.
"""

from __future__ import annotations

import hashlib
import json
import socket
import ssl
import struct
import sys
from typing import Any

_TLS_PLEASE = struct.pack("!ii", 8, 80877103)
"""PostgreSQL's SSLRequest."""


def shown(host: str, port: int, protocol: str, timeout: float = 5.0) -> bytes:
    """The certificate in DER. `protocol` is `postgresql`, where TLS is asked for first, or `tls`.

    Raises OSError, as errors of TLS are too.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with socket.create_connection((host, port), timeout) as plain:
        if protocol == "postgresql":
            plain.sendall(_TLS_PLEASE)
            if plain.recv(1) != b"S":
                raise OSError("it does not speak TLS")
        with context.wrap_socket(plain) as secure:
            return secure.getpeercert(binary_form=True) or b""


def fingerprint(pem: str) -> str:
    """SHA-256 of the first certificate, in hex."""
    end = "-----END CERTIFICATE-----"
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem.partition(end)[0] + end)).hexdigest()


def main(wanted: list[dict[str, Any]]) -> list[dict[str, str]]:
    """For each {host, port, protocol, times}: the certificates that so many handshakes show, in hex, or an error."""
    answers = []
    for port in wanted:
        found = {"certificates": "", "error": ""}
        try:
            several = {shown(port["host"], port["port"], port["protocol"]) for _time in range(port["times"])}
            found["certificates"] = " ".join(sorted(each.hex() for each in several))
        except OSError as error:
            found["error"] = str(error)
        answers.append(found)
    return answers


if __name__ == "__main__":
    print(json.dumps(main(json.loads(sys.argv[1]))))
