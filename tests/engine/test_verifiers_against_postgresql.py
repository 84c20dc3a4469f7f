"""Our verifiers against PostgreSQL 17: each side's are the other's, for passwords of every alphabet."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg import sql

from pooler import scram
from tests.engine import trial

Connection = psycopg.Connection[tuple[object, ...]]

ROLE = "subject"
FEW = 2  # iterations: the derivation is the same, the tests are faster

# Letters and signs that SASLprep maps, composes, forbids or cares about the direction of, mixed with any others.
TRICKY = st.sampled_from(
    "aZ0 \t\x7f\xa0\xad\xaa\xe9\u0301\u0340\u05d0\u0627\u0661\u0221\u06dd\u1680\u180e\u1e9b\u200b\u200c\u200e"
    "\u2028\u2168\u2f74\u3000\ue000\ufb01\ufdd0\ufe76\ufeff\uff21\ufffd\U0001d15e\U0001f600\U000e0001\U0002f868"
)
CHARACTERS = st.one_of(TRICKY, st.characters(exclude_characters="\0", exclude_categories=["Cs"]))
# Mostly short ones: a single forbidden character hides what the others would have become.
PASSWORDS = st.one_of(
    st.text(CHARACTERS, min_size=1, max_size=12),
    st.tuples(st.sampled_from(["", "a", "\u0627"]), TRICKY, st.sampled_from(["", "b", "\u0627"])).map("".join),
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Connection, Path]]:
    place = tmp_path_factory.mktemp("postgresql")
    with trial.postgresql(place) as connection:
        connection.execute(f"CREATE ROLE {ROLE} LOGIN; SET scram_iterations = {FEW}")
        yield connection, place


def set_password(connection: Connection, text: str) -> str:
    """What PostgreSQL stores when it is given a password or a verifier."""
    connection.execute(sql.SQL("ALTER ROLE {} PASSWORD {}").format(sql.Identifier(ROLE), sql.Literal(text)))
    row = connection.execute("SELECT rolpassword FROM pg_authid WHERE rolname = %s", [ROLE]).fetchone()
    assert row is not None
    return str(row[0])


def logs_in(place: Path, password: str) -> bool:
    try:
        with psycopg.connect(host=str(place), user=ROLE, dbname="postgres", password=password):
            return True
    except psycopg.OperationalError as error:
        if "password authentication failed" not in str(error):
            raise
        return False


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(password=PASSWORDS)
def test_postgresqls_verifier_is_ours(server: tuple[Connection, Path], password: str) -> None:
    stored = set_password(server[0], password)

    assert scram.verifies(stored, password)
    parsed = scram.parse(stored)
    assert scram.verifier(password, salt=parsed.salt, iterations=parsed.iterations) == stored


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(password=PASSWORDS)
def test_our_verifier_is_stored_as_it_is_and_lets_in(server: tuple[Connection, Path], password: str) -> None:
    connection, place = server
    ours = scram.verifier(password, iterations=FEW)

    assert set_password(connection, ours) == ours
    assert logs_in(place, password)


def test_wrong_password_is_refused(server: tuple[Connection, Path]) -> None:
    connection, place = server
    password = secrets.token_urlsafe()

    set_password(connection, scram.verifier(password))

    assert logs_in(place, password)
    assert not logs_in(place, password + "x")


@pytest.mark.parametrize(
    "mistaken",
    [
        lambda good: good.replace("$4096:", "$04096:"),
        lambda good: good.replace("SCRAM-SHA-256", "SCRAM-SHA-512"),
        lambda good: good.rpartition(":")[0],
        lambda good: good.replace("=", "", 1),
        lambda good: good + "A",
    ],
)
def test_what_we_take_for_a_verifier_postgresql_takes_too(server: tuple[Connection, Path], mistaken: object) -> None:
    assert callable(mistaken)
    text = str(mistaken(scram.verifier(secrets.token_urlsafe())))

    kept = set_password(server[0], text) == text

    # PostgreSQL hashes what it does not recognise, as if it were a password; we would rather ask.
    assert kept >= scram.is_verifier(text)
