"""The client's side of SCRAM: what RFC 7677 shows, and what a server must not get from us."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets

import pytest

from pooler import scram
from pooler.agent.scram_login import Login
from pooler.errors import PoolerError

# RFC 7677, section 3. There the user's name is part of the exchange; PostgreSQL leaves it empty.
NONCE = "rOprNGfwEbeRWgbNEkqO"
CHALLENGE = "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"


def server_accepts(verifier: str, bare: str, challenge: str, message: str) -> bool:
    """As RFC 5802 has it: the key that the proof gives away is the one that was stored."""
    known = scram.parse(verifier)
    without_proof, _comma, proof = message.rpartition(",p=")
    said = ",".join((bare, challenge, without_proof)).encode()
    signature = hmac.digest(known.stored_key, said, "sha256")
    key = bytes(a ^ b for a, b in zip(base64.b64decode(proof), signature, strict=True))
    return hashlib.sha256(key).digest() == known.stored_key


def test_the_proof_is_the_one_that_the_verifier_of_the_rfc_takes() -> None:
    verifier = scram.verifier("pencil", salt=base64.b64decode("W22ZaJ0SNY7soEsUEjb6gQ=="))
    login = Login("pencil", NONCE)
    answer = login.answer(CHALLENGE)
    assert login.first == f"n,,n=,r={NONCE}"
    assert server_accepts(verifier, login.first.removeprefix("n,,"), CHALLENGE, answer.message)
    assert not server_accepts(verifier, login.first, CHALLENGE, Login("pencils", NONCE).answer(CHALLENGE).message)


def test_the_server_has_to_know_the_password_too() -> None:
    """What is expected of it follows from the server key of the verifier."""
    password = secrets.token_urlsafe(12)
    verifier = scram.verifier(password)
    known = scram.parse(verifier)
    login = Login(password)
    challenge = f"r={login.first.partition('r=')[2]}server,s={base64.b64encode(known.salt).decode()},i=4096"
    answer = login.answer(challenge)
    said = f"{login.first.removeprefix('n,,')},{challenge},{answer.message.rpartition(',p=')[0]}".encode()
    signature = base64.b64encode(hmac.digest(known.server_key, said, "sha256")).decode()
    assert answer.expected == f"v={signature}"


def test_no_two_logins_have_the_same_nonce() -> None:
    assert len({Login("x").first for _ in range(20)}) == 20


@pytest.mark.parametrize(
    "challenge",
    [
        "",
        "e=other-error",
        f"r={NONCE}x,s=AAAA",
        f"r={NONCE}x,s=not base64!,i=4096",
        f"r={NONCE}x,s=AAAA,i=many",
        f"r={NONCE}x,s=AAAA,i=0",
        f"r={NONCE}x,s=AAAA,i=2000000000",
        f"r={NONCE},s=AAAA,i=4096",
        "r=somebody-else,s=AAAA,i=4096",
    ],
)
def test_a_challenge_that_is_none_of_ours_gets_no_proof(challenge: str) -> None:
    with pytest.raises(PoolerError, match="challenge"):
        Login("x", NONCE).answer(challenge)


def test_the_password_is_not_shown() -> None:
    password = secrets.token_hex(12)
    answer = Login(password, NONCE).answer(CHALLENGE)
    assert answer.expected not in repr(answer)
    assert password not in repr(Login(password))
