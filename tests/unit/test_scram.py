"""Verifiers: the vector of RFC 7677, PostgreSQL's way of preparing passwords, and errors that keep secrets."""

from __future__ import annotations

import base64
import secrets

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pooler import scram
from pooler.errors import InvalidError
from pooler.saslprep import prepared

FEW = 2  # iterations: the derivation is the same, the tests are faster
PASSWORDS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=40)


def test_verifier_is_the_one_of_rfc_7677() -> None:
    salt = base64.b64decode("W22ZaJ0SNY7soEsUEjb6gQ==")

    verifier = scram.verifier("pencil", salt=salt, iterations=4096)

    assert verifier == (
        "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$"
        "WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="
    )


@given(PASSWORDS)
def test_password_verifies_and_another_does_not(password: str) -> None:
    verifier = scram.verifier(password, iterations=FEW)

    assert scram.verifies(verifier, password)
    assert not scram.verifies(verifier, password + "x")


@given(PASSWORDS, st.binary(min_size=1, max_size=32), st.integers(1, 20))
def test_parsed_verifier_spells_itself_again(password: str, salt: bytes, iterations: int) -> None:
    verifier = scram.verifier(password, salt=salt, iterations=iterations)

    parsed = scram.parse(verifier)

    assert str(parsed) == verifier
    assert (parsed.salt, parsed.iterations) == (salt, iterations)


def test_every_verifier_has_a_salt_of_its_own() -> None:
    password = secrets.token_urlsafe()

    assert scram.verifier(password, iterations=FEW) != scram.verifier(password, iterations=FEW)


@pytest.mark.parametrize("password", ["", "a\0b", "\0"])
def test_password_that_postgresql_cannot_have_is_refused(password: str) -> None:
    with pytest.raises(InvalidError):
        scram.verifier(password)


@pytest.mark.parametrize("iterations", [0, -1, 2**31])
def test_iterations_out_of_range_are_refused(iterations: int) -> None:
    with pytest.raises(InvalidError, match="out of range"):
        scram.verifier("x", iterations=iterations)


def broken_verifiers() -> list[str]:
    good = scram.verifier(secrets.token_urlsafe(), iterations=FEW)
    return [
        "",
        "md5" + secrets.token_hex(16),
        good.replace("SCRAM-SHA-256", "SCRAM-SHA-1"),
        good.replace("$2:", "$0:"),
        good.replace("$2:", "$02:"),
        good.replace("$2:", "$9999999999:"),
        good[:-4],
        good + "A",
        good + "\n",
        " " + good,
        good.replace(":", "::", 1),
        good.rpartition(":")[0],
    ]


@pytest.mark.parametrize("number", range(12))
def test_what_is_not_a_verifier_is_refused_without_being_shown(number: int) -> None:
    text = broken_verifiers()[number]

    with pytest.raises(InvalidError) as caught:
        scram.parse(text)

    assert not text.strip() or text.strip() not in str(caught.value)
    assert not scram.is_verifier(text)


def test_password_is_not_shown_when_mistaken_for_a_verifier() -> None:
    password = secrets.token_urlsafe()

    with pytest.raises(InvalidError) as caught:
        scram.verifies(password, password)

    assert password not in str(caught.value)


def test_keys_stay_out_of_repr() -> None:
    parsed = scram.parse(scram.verifier(secrets.token_urlsafe(), iterations=FEW))

    assert repr(parsed) == f"Verifier(iterations={FEW})"


@pytest.mark.parametrize(
    ("password", "as_prepared"),
    [
        ("I\xadX", "IX"),  # soft hyphen vanishes
        ("\xaa", "a"),  # NFKC
        ("\u2168", "IX"),  # NFKC
        ("a\xa0b", "a b"),  # odd spaces become spaces
        ("a\u200bb", "a b"),  # a space in Unicode 3.2, before it is one that vanishes
        ("e\u0301", "\xe9"),  # composed
        ("\u0627\u0628", "\u0627\u0628"),  # right to left all through
    ],
)
def test_passwords_are_prepared(password: str, as_prepared: str) -> None:
    assert prepared(password) == as_prepared.encode()


@pytest.mark.parametrize(
    "password",
    [
        "a\tb\x7f",  # ASCII is never looked at
        "\xad",  # nothing would be left
        "\xe9\x07",  # a control character beside a letter that is not ASCII
        "\u0627x",  # directions mixed
        "\u06271",  # does not end right to left
        "\u0221",  # not assigned in Unicode 3.2
        "\ue000",  # private use
        "\ufdd0",  # no character
    ],
)
def test_password_that_cannot_be_prepared_is_used_as_it_is(password: str) -> None:
    assert prepared(password) == password.encode()


def test_checks_look_at_the_text_before_normalization() -> None:
    # U+0340 is prohibited, and normalization would have made it the harmless U+0300: RFC 4013 would take it.
    assert prepared("a\u0340") == "a\u0340".encode()


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=20))
@settings(max_examples=300)
def test_preparing_twice_changes_nothing_more_for_ascii(password: str) -> None:
    if password.isascii():
        assert prepared(password) == password.encode()
    else:
        assert prepared(password).decode()


def test_undecodable_bytes_are_hashed_as_they_are() -> None:
    raw = b"\xff\xfe"

    assert prepared(raw.decode("utf-8", "surrogateescape")) == raw
