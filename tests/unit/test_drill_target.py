"""Where the pool is, as people write it."""

from __future__ import annotations

import secrets

import pytest

from pooler.drill.target import Target, parse
from pooler.errors import InvalidError


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("host=pool1 dbname=app user=app sslrootcert=ca.crt", Target("pool1", 6432, "app", "app", "ca.crt")),
        ("host=pool1,pool2 port=7000 dbname='my app' user=app", Target("pool1,pool2", 7000, "app", "my app")),
        ("postgresql://app@pool1/app", Target("pool1", 6432, "app", "app")),
        ("postgres://a%40b@pool1:7000,pool2:7000/app?sslrootcert=ca.crt&sslmode=verify-full",
         Target("pool1,pool2", 7000, "a@b", "app", "ca.crt")),
        ("host=pool1 dbname=app user=app sslrootcert=system", Target("pool1", 6432, "app", "app")),
    ],
    ids=["words", "several hosts", "URI", "URI of several", "the system's authorities"],
)  # fmt: skip
def test_both_notations_are_understood(text: str, target: Target) -> None:
    assert parse(text) == target


@pytest.mark.parametrize("text", ["host=pool1 dbname=app user=app password={}", "postgresql://app:{}@pool1/app"])
def test_a_password_in_the_arguments_is_refused_and_not_repeated(text: str) -> None:
    password = secrets.token_urlsafe(12)
    with pytest.raises(InvalidError, match="holds a password") as raised:
        parse(text.format(password))
    assert password not in str(raised.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("host=pool1 user=app", "dbname is missing"),
        ("host=pool1 dbname=app user=app sslmode=require", "verify-full"),
        ("host=pool1 dbname=app user=app sslrootcet=ca.crt", "did you mean 'sslrootcert'"),
        ("host=pool1 dbname=app user=app port=many", "not a port"),
        ("host=pool1 dbname='app user=app", "No closing quotation"),
        ("pool1", "is not NAME=VALUE"),
        ("mysql://app@pool1/app", "is not postgresql://"),
        ("postgresql://app@pool1:1,pool2:2/app", "different ports"),
    ],
)
def test_a_mistake_is_named(text: str, words: str) -> None:
    with pytest.raises(InvalidError, match=words):
        parse(text)
