"""What lines of pg_hba.conf let our role do, judged without a server."""

from __future__ import annotations

from typing import Any

import pytest

from pooler import auth_hba

TLS, NO_MORE = (
    {"type": "hostssl", "databases": ["all"], "users": ["pgbouncer"], "address": "all", "method": "cert"},
    {"type": "host", "databases": ["all"], "users": ["pgbouncer"], "address": "all", "method": "reject"},
)
EVERYBODY = {"type": "host", "databases": ["all"], "users": ["all"], "address": "all", "method": "scram-sha-256"}
SOCKET = {"type": "local", "databases": ["all"], "users": ["all"], "address": None, "method": "trust"}


def complaints(*rules: dict[str, Any]) -> list[str]:
    numbered = [{"options": [], **rule, "line": number} for number, rule in enumerate(rules, 1)]
    told = auth_hba.complaints("pgbouncer", "postgres", numbered)
    assert all(text.endswith("hostssl all pgbouncer all cert; host all pgbouncer all reject") for text in told)
    return [text.partition(";")[0] for text in told]


NO_WAY = "no line of pg_hba.conf lets role pgbouncer in by certificate"


def test_with_a_password_scram_over_tls_takes_the_place_of_the_certificate() -> None:
    by_password = TLS | {"method": "scram-sha-256"}

    def told(*rules: dict[str, Any]) -> list[str]:
        numbered = [{"options": [], **rule, "line": number} for number, rule in enumerate(rules, 1)]
        return list(auth_hba.complaints("pgbouncer", "postgres", numbered, "verifier"))

    assert auth_hba.lines("pgbouncer", "verifier")[0] == "hostssl all pgbouncer all scram-sha-256"
    assert told(by_password, NO_MORE) == []
    assert told(EVERYBODY | {"type": "hostssl"}) == []
    assert "by password over TLS" in told(TLS, NO_MORE)[0]
    assert told(by_password, EVERYBODY) != []


def line(number: int, type_: str, method: str) -> str:
    return f"line {number} of pg_hba.conf ({type_} … {method}) is about logins of role pgbouncer as well"


@pytest.mark.parametrize(
    "rules",
    [
        (SOCKET, TLS, NO_MORE, EVERYBODY),
        (TLS, NO_MORE),
        (TLS,),
        # Others' lines above ours.
        (EVERYBODY | {"users": ["app"]}, EVERYBODY | {"databases": ["replication"]}, TLS, NO_MORE, EVERYBODY),
        (EVERYBODY | {"users": ["+team"]}, EVERYBODY | {"databases": ["sameuser"]}, TLS, NO_MORE),
        (EVERYBODY | {"type": "hostgssenc", "method": "gss"}, TLS, NO_MORE),
        (TLS | {"method": "trust", "options": ["clientcert=verify-full"]}, NO_MORE, EVERYBODY),
        (TLS, EVERYBODY | {"type": "hostssl"}, NO_MORE),
    ],
)
def test_in_by_certificate_and_in_no_other_way_is_well(rules: tuple[dict[str, Any], ...]) -> None:
    assert complaints(*rules) == []


@pytest.mark.parametrize(
    ("rules", "told"),
    [
        ((), [NO_WAY]),
        ((SOCKET,), [NO_WAY]),
        ((NO_MORE, TLS), [NO_WAY]),
        ((TLS | {"type": "hostnossl"},), [NO_WAY, line(1, "hostnossl", "cert")]),
        ((EVERYBODY, TLS, NO_MORE), [NO_WAY, line(1, "host", "scram-sha-256")]),
        ((TLS, EVERYBODY), [line(2, "host", "scram-sha-256")]),
        ((EVERYBODY | {"users": ["+pgbouncer"], "method": "trust"}, TLS), [NO_WAY, line(1, "host", "trust")]),
        ((EVERYBODY | {"users": ["/^pg"], "address": "10.0.0.0"}, TLS, NO_MORE), [line(1, "host", "scram-sha-256")]),
        ((TLS | {"address": "10.0.0.0"}, EVERYBODY), [line(2, "host", "scram-sha-256")]),
        ((TLS, EVERYBODY | {"type": "hostnossl", "method": "md5"}, NO_MORE), [line(2, "hostnossl", "md5")]),
    ],
)
def test_each_other_way_in_is_told(rules: tuple[dict[str, Any], ...], told: list[str]) -> None:
    assert complaints(*rules) == told


def test_role_whose_name_is_the_databases_is_meant_by_sameuser() -> None:
    rule = {**EVERYBODY, "databases": ["sameuser"], "options": [], "line": 1}
    assert len(auth_hba.complaints("postgres2", "postgres2", [rule])) == 2
