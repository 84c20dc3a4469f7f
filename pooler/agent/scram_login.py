"""The client's side of SCRAM-SHA-256 (RFC 5802 and 7677), as text: whoever has the connection carries it.

Without channel binding: the connection is TLS whose certificate was checked already.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
from dataclasses import dataclass, field

from .. import scram
from ..errors import PoolerError

MECHANISM = "SCRAM-SHA-256"

_HEADER = "n,,"
_MOST_ITERATIONS = 10_000_000
"""More would only keep us busy: about three seconds of CPU."""


@dataclass(frozen=True)
class Answer:
    """What is sent to prove that we know the password, and what the server must prove that it knows the verifier."""

    message: str
    expected: str = field(repr=False)


class Login:
    """One exchange. The user's name is not part of it: PostgreSQL takes that of the startup packet."""

    def __init__(self, password: str, nonce: str | None = None) -> None:
        self._password = password
        self._nonce = nonce or base64.b64encode(secrets.token_bytes(18)).decode()
        self._bare = f"n=,r={self._nonce}"
        self.first = f"{_HEADER}{self._bare}"

    def answer(self, challenge: str) -> Answer:
        """To the server's first message. Raises PoolerError for one that is none, or that is not for us."""
        try:
            fields = dict(part.split("=", 1) for part in challenge.split(","))
            nonce, iterations = fields["r"], int(fields["i"])
            salt = base64.b64decode(fields["s"], validate=True)
        except (KeyError, ValueError, binascii.Error):
            raise PoolerError("the server's SCRAM challenge is not understood") from None
        if not nonce.startswith(self._nonce) or nonce == self._nonce or not 1 <= iterations <= _MOST_ITERATIONS:
            raise PoolerError("the server's SCRAM challenge is not an answer to ours")
        client_key, server_key = scram.keys(self._password, salt, iterations)
        without_proof = f"c={base64.b64encode(_HEADER.encode()).decode()},r={nonce}"
        said = ",".join((self._bare, challenge, without_proof)).encode()
        signature = hmac.digest(hashlib.sha256(client_key).digest(), said, "sha256")
        proof = bytes(key ^ sign for key, sign in zip(client_key, signature, strict=True))
        expected = hmac.digest(server_key, said, "sha256")
        return Answer(
            f"{without_proof},p={base64.b64encode(proof).decode()}", f"v={base64.b64encode(expected).decode()}"
        )
