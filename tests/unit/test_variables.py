"""What a person may write, and what they are told when it cannot be."""

from __future__ import annotations

import secrets
from typing import Any

import pytest

from pooler import scram
from pooler.errors import InvalidError
from pooler.variables import read


def given(**changed: Any) -> dict[str, Any]:
    return {"image": "localhost/pgfleet/pooler:0.1.0", "server": "db1", "databases": [{"name": "app"}]} | changed


def refused(**changed: Any) -> str:
    with pytest.raises(InvalidError) as error:
        read(given(**changed))
    return str(error.value)


def test_databases_and_an_image_are_enough() -> None:
    pooler = read(given())
    assert pooler.consoles == (50001, 50002)
    assert pooler.port == 6432
    assert [database.name for database in pooler.databases] == ["app"]


@pytest.mark.parametrize(
    ("changed", "place", "said"),
    [
        ({"settings": {"pool_moode": "session"}}, "settings.pool_moode", "'pool_mode'"),
        ({"settings": {"server_lifetime": "1m"}}, "settings.server_lifetime", "seconds"),
        ({"databases": [{"name": "app", "pool_size": "abc"}]}, "databases[0].pool_size", "abc"),
        ({"port": 70000}, "port", "65535"),
        ({"databases": [{"name": "app", "port": 70000}]}, "databases[0].port", "70000"),
        ({"databases": [{"name": "app"}, {"name": "app"}]}, "databases[1].name", "twice"),
        ({"databases": [{}]}, "databases[0].name", "missing"),
        ({"databases": ["app"]}, "databases[0]", "dictionary"),
        ({"databases": "app"}, "databases", "list"),
        ({"databases": [{"name": "pgbouncer"}]}, "databases[0].name", "reserved"),
        ({"databases": [{"name": "d" * 64}]}, "databases[0].name", "63"),
        ({"databases": [{"name": "it's"}]}, "databases[0].name", "quote"),
        ({"databases": [{"name": "a\nb"}]}, "databases[0].name", "control"),
        ({"settings": {"listen_port": 1}}, "settings.listen_port", "port"),
        ({"settings": {"auth_type": "trust"}}, "settings.auth_type", "hba"),
        ({"image": ""}, "image", "image"),
        ({"tls_directory": "/etc/ssl"}, "tls_directory", "/etc/pgbouncer/"),
        ({"settings": {"disable_pqexec": True}}, "settings.disable_pqexec", "console"),
        ({"instances": 0}, "instances", "1"),
        ({"port": 50002}, "port", "console"),
        ({"dispatch": "magic"}, "dispatch", "socket"),
        ({"engine_version": "new"}, "engine_version", "1.24.1"),
        ({"engine_version": "1.18.0", "settings": {"max_prepared_statements": 5}}, "max_prepared_statements", "1.21"),
        ({"hba": ["hostssl all all all sacrm-sha-256"]}, "hba:1", "sacrm"),
        ({"server": None}, "patroni", "no server"),
        ({"patroni": ["https://db1:8008"]}, "server", "one of them"),
        ({"users": [{"name": "u", "console": "root"}]}, "users[0].console", "admin or stats"),
    ],
)
def test_a_mistake_is_named_with_its_place_and_what_is_allowed(changed: dict[str, Any], place: str, said: str) -> None:
    message = refused(**changed)
    assert place in message
    assert said in message


def test_all_mistakes_are_named_at_once() -> None:
    message = refused(port=70000, settings={"pool_moode": "session"}, databases=[{"name": "a"}, {"name": "a"}])
    assert len(message.splitlines()) == 3


def test_a_secret_is_never_part_of_an_error() -> None:
    secret = secrets.token_hex(16)
    message = refused(
        users=[
            {"name": "one", "password": secret, "verifier": scram.verifier("x")},
            {"name": "two", "verifier": secret},
            {"name": "three", "password": secret + "\n"},
            {"name": "four", "password": secret * 100},
        ]
    )
    assert len(message.splitlines()) == 4
    assert secret not in message


def test_a_secret_is_not_shown_by_the_model_either() -> None:
    secret = secrets.token_hex(16)
    pooler = read(given(users=[{"name": "one", "password": secret}]))
    assert secret not in repr(pooler)


@pytest.mark.parametrize(("limit", "instances", "share"), [(1000, 2, 500), (1000, 3, 334), (1, 4, 1), (0, 4, 0)])
def test_a_limit_of_the_host_is_divided_and_never_becomes_unlimited(limit: int, instances: int, share: int) -> None:
    pooler = read(given(instances=instances))
    assert pooler.share(limit) == share
