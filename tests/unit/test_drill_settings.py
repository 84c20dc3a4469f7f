"""Settings of the load arrive as JSON."""

from __future__ import annotations

import json
import secrets

import pytest

from pooler.drill.settings import Settings
from pooler.errors import InvalidError


def given(**more: object) -> str:
    password = secrets.token_urlsafe(12)
    return json.dumps({"host": "pool1", "user": "app", "database": "app", "password": password, "ca": "ca.crt", **more})


def test_what_is_not_said_has_its_default() -> None:
    assert Settings.from_json(given(knocks=7)).knocks == 7
    assert Settings.from_json(given()).port == 6432


def test_the_password_is_not_shown() -> None:
    text = given()
    assert json.loads(text)["password"] not in repr(Settings.from_json(text))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("stop", "not JSON"),
        ("[]", "not an object"),
        ("{}", "host: is missing"),
        (given(knock=1), "did you mean 'knocks'?"),
        (given(knocks="many"), "knocks: must be int"),
        (given(workers=True), "workers: must be int"),
        (given(workers=-1), "workers: must not be negative"),
        (given(work="sleep"), "work: must be one of mixed, write, read"),
    ],
    ids=[
        "no JSON",
        "no object",
        "nothing",
        "unknown",
        "wrong type",
        "a truth for a number",
        "negative",
        "unknown work",
    ],
)
def test_a_mistake_is_named(text: str, words: str) -> None:
    with pytest.raises(InvalidError, match=words.replace("?", r"\?")):
        Settings.from_json(text)


def test_clients_take_the_hosts_in_turn() -> None:
    settings = Settings.from_json(given(host="pool1,pool2"))
    assert [settings.host_of(client) for client in range(4)] == ["pool1", "pool2", "pool1", "pool2"]
