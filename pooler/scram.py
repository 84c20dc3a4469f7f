"""SCRAM-SHA-256 verifiers as PostgreSQL stores them in pg_authid and PgBouncer reads them from userlist.txt.

RFC 5802 and RFC 7677. A verifier proves a password without holding it; a login against one also costs PgBouncer
thirty times less CPU than a login against the password.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass, field

from .errors import InvalidError, Problem
from .saslprep import prepared

ITERATIONS = 4096
"""PostgreSQL's default (scram_iterations) and the least that RFC 7677 allows."""

_SALT_BYTES = 16
_KEY_BYTES = 32
_MOST_ITERATIONS = 2**31 - 1
_SHAPE = re.compile(r"SCRAM-SHA-256\$([1-9][0-9]{0,9}):([A-Za-z0-9+/]+=*)\$([A-Za-z0-9+/]+=*):([A-Za-z0-9+/]+=*)")


@dataclass(frozen=True)
class Verifier:
    """A parsed verifier. The keys stay out of `repr`: whoever has the server key can pretend to be the server."""

    iterations: int
    salt: bytes = field(repr=False)
    stored_key: bytes = field(repr=False)
    server_key: bytes = field(repr=False)

    def __str__(self) -> str:
        salt, stored, server = (
            base64.b64encode(part).decode("ascii") for part in (self.salt, self.stored_key, self.server_key)
        )
        return f"SCRAM-SHA-256${self.iterations}:{salt}${stored}:{server}"


def verifier(password: str, *, salt: bytes | None = None, iterations: int = ITERATIONS) -> str:
    """A verifier for `password`: about 1 ms of CPU at 4096 iterations. Without `salt` a random one of 16 bytes is used.

    Raises InvalidError for what PostgreSQL cannot have as a password: none at all, or one with a NUL in it.
    """
    if not password or "\0" in password:
        what = "a password cannot be empty" if not password else "a password cannot contain a NUL character"
        raise InvalidError([Problem("password", what, "choose another one")])
    if not 1 <= iterations <= _MOST_ITERATIONS:
        raise InvalidError([Problem("iterations", f"{iterations} is out of range", f"1 to {_MOST_ITERATIONS}")])
    if salt is None:
        salt = secrets.token_bytes(_SALT_BYTES)
    elif not salt:
        raise InvalidError([Problem("salt", "a salt cannot be empty", f"leave it out, or give {_SALT_BYTES} bytes")])
    return str(_derived(password, salt, iterations))


def nobodys() -> str:
    """A verifier that no password is known for: keys are drawn, not derived, so that it costs nothing."""
    salt, stored_key, server_key = (secrets.token_bytes(size) for size in (_SALT_BYTES, _KEY_BYTES, _KEY_BYTES))
    return str(Verifier(ITERATIONS, salt, stored_key, server_key))


def verifies(verifier: str, password: str) -> bool:
    """Whether `password` logs in against `verifier`; takes as long for a wrong password as for the right one."""
    known = parse(verifier)
    derived = _derived(password, known.salt, known.iterations)
    return hmac.compare_digest(known.stored_key + known.server_key, derived.stored_key + derived.server_key)


def keys(password: str, salt: bytes, iterations: int) -> tuple[bytes, bytes]:
    """ClientKey and ServerKey (RFC 5802, section 3). Slow on purpose; the first one is as good as the password."""
    salted = hashlib.pbkdf2_hmac("sha256", prepared(password), salt, iterations)
    return hmac.digest(salted, b"Client Key", "sha256"), hmac.digest(salted, b"Server Key", "sha256")


def parse(verifier: str) -> Verifier:
    """The parts of a verifier. Raises InvalidError, which never repeats the text: it may well be a password."""
    match = _SHAPE.fullmatch(verifier)
    if match is None:
        raise _unreadable("the text is not a SCRAM-SHA-256 verifier")
    iterations = int(match[1])
    if iterations > _MOST_ITERATIONS:
        raise _unreadable(f"more than {_MOST_ITERATIONS} iterations")
    try:
        salt, stored_key, server_key = (base64.b64decode(part, validate=True) for part in match.group(2, 3, 4))
    except binascii.Error:
        raise _unreadable("salt or keys are not base64") from None
    if len(stored_key) != _KEY_BYTES or len(server_key) != _KEY_BYTES:
        raise _unreadable(f"the keys are not {_KEY_BYTES} bytes long")
    return Verifier(iterations, salt, stored_key, server_key)


def is_verifier(text: str) -> bool:
    """Whether `text` is a verifier that `parse` can read."""
    try:
        parse(text)
    except InvalidError:
        return False
    return True


def _derived(password: str, salt: bytes, iterations: int) -> Verifier:
    client_key, server_key = keys(password, salt, iterations)
    return Verifier(iterations, salt, stored_key=hashlib.sha256(client_key).digest(), server_key=server_key)


def _unreadable(what: str) -> InvalidError:
    shape = "SCRAM-SHA-256$<iterations>:<salt>$<stored key>:<server key>, as in pg_authid.rolpassword"
    return InvalidError([Problem("verifier", what, f"expected {shape}")])
