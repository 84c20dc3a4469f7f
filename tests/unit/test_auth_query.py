"""The auth_query room without a server: each property is found and repaired on its own, and no name breaks out."""

from __future__ import annotations

import copy
import re
import secrets
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pooler import objects, scram
from pooler.auth_query import AuthQuery, audit_sql, differences, query, removal_sql, repair_sql
from pooler.errors import InvalidError
from pooler.sql import identifier

Observed = dict[str, Any]
WANTED = AuthQuery()
NAMES = (
    st.text(st.characters(exclude_categories=["C", "Zl", "Zp"]), min_size=1, max_size=15)
    | st.sampled_from(['a"b', "a'b", "a\\", "$get_auth$", "«role»", "a = b", "ä" * 31, "--", "/*", ";"])
).filter(lambda name: not name.startswith("pg_") and name not in ("public", "none", "information_schema", "postgres"))


def bare() -> Observed:
    """The audit of a cluster that has none of our objects."""
    return {
        "server_version": 170006,
        "in_recovery": False,
        "read_only": False,
        "database": "postgres",
        "user": "postgres",
        "superuser": True,
        "owner": "postgres",
        "rights": [
            {"grantee": None, "privilege": "CONNECT", "grantable": False},
            {"grantee": None, "privilege": "TEMPORARY", "grantable": False},
        ],
        "hba": [],
        "role": None,
        "settings": [],
        "member_of": [],
        "members": [],
        "schema": None,
        "functions": [],
        "default_grants": [],
        "held": [],
    }


def body(wanted: AuthQuery) -> str:
    """The function's text, taken from between the dollar quotes of a first repair."""
    statement = repair_sql(wanted, bare())
    start = statement.index("\nAS $") + len("\nAS ")
    tag = statement[start : statement.index("$", start + 1) + 1]
    return statement[start:].split(tag)[1]


def sound(wanted: AuthQuery = WANTED) -> Observed:
    """The audit of a cluster in which all is as it should be."""

    def grants(privilege: str) -> list[dict[str, Any]]:
        return [
            {"grantee": grantee, "privilege": privilege, "grantable": False} for grantee in (wanted.role, "postgres")
        ]

    return bare() | {
        "role": {
            "login": True,
            "superuser": False,
            "createdb": False,
            "createrole": False,
            "inherit": False,
            "replication": False,
            "bypassrls": False,
            "connection_limit": -1,
            "valid_until": None,
            "has_password": False,
            "verifier": None,
        },
        "schema": {"owner": "postgres", "grants": grants("USAGE"), "others": 0},
        "functions": [
            {
                "types": ["pg_catalog.text"],
                "arguments": ["pg_catalog.text"] * 3,
                "names": ["user_name", "username", "password"],
                "modes": ["i", "t", "t"],
                "defaults": 0,
                "set": True,
                "returns": ["pg_catalog.record"],
                "owner": "postgres",
                "kind": "f",
                "language": "sql",
                "volatility": "s",
                "strict": True,
                "security_definer": True,
                "leakproof": False,
                "parallel": "u",
                "settings": ["search_path=pg_catalog, pg_temp"],
                "body": body(wanted),
                "grants": grants("EXECUTE"),
            }
        ],
    }


def test_a_sound_cluster_has_no_differences_and_needs_no_repair() -> None:
    assert differences(WANTED, sound()) == ()
    assert repair_sql(WANTED, sound()) == ""


def test_a_bare_cluster_gets_everything_in_one_transaction_with_login_last() -> None:
    lines = repair_sql(WANTED, bare()).splitlines()
    assert lines[0] == "BEGIN;"
    assert lines[-2:] == ['ALTER ROLE "pgbouncer" LOGIN;', "COMMIT;"]
    created = next(line for line in lines if line.startswith("CREATE ROLE"))
    assert " NOLOGIN " in created
    revoked = [at for at, line in enumerate(lines) if line.startswith("REVOKE")]
    granted = [at for at, line in enumerate(lines) if line.startswith("GRANT")]
    assert len(revoked) == len(granted) == 2
    assert max(revoked) < min(granted)
    assert [str(difference) for difference in differences(WANTED, bare())] == [
        "role pgbouncer: missing, should be present",
        "schema pgbouncer: missing, should be present",
        "function pgbouncer.get_auth: missing, should be present",
    ]


def role(key: str, value: object) -> Callable[[Observed], None]:
    return lambda observed: observed["role"].update({key: value})


def function(key: str, value: object) -> Callable[[Observed], None]:
    return lambda observed: observed["functions"][0].update({key: value})


def grant(of: str, grantee: str | None, privilege: str) -> Callable[[Observed], None]:
    def give(observed: Observed) -> None:
        holder = observed["schema"] if of == "schema" else observed["functions"][0]
        holder["grants"].append({"grantee": grantee, "privilege": privilege, "grantable": False})

    return give


@pytest.mark.parametrize(
    ("broken", "what", "step"),
    [
        (role("superuser", True), "role pgbouncer: superuser", 'ALTER ROLE "pgbouncer" NOSUPERUSER;'),
        (role("inherit", True), "role pgbouncer: inherit", 'ALTER ROLE "pgbouncer" NOINHERIT;'),
        (role("login", False), "role pgbouncer: login", 'ALTER ROLE "pgbouncer" LOGIN;'),
        (role("has_password", True), "role pgbouncer: password", 'ALTER ROLE "pgbouncer" PASSWORD NULL;'),
        (
            lambda o: o["members"].append({"role": "mallory", "grantor": "postgres"}),
            "role pgbouncer: has the member",
            'REVOKE "pgbouncer" FROM "mallory" GRANTED BY "postgres" CASCADE;',
        ),
        (
            grant("schema", None, "USAGE"),
            "schema pgbouncer: USAGE for PUBLIC",
            'REVOKE USAGE ON SCHEMA "pgbouncer" FROM PUBLIC CASCADE;',
        ),
        (
            grant("function", None, "EXECUTE"),
            "function pgbouncer.get_auth: EXECUTE for PUBLIC",
            'REVOKE EXECUTE ON FUNCTION "pgbouncer"."get_auth"(pg_catalog.text) FROM PUBLIC CASCADE;',
        ),
        (
            function("owner", "mallory"),
            "function pgbouncer.get_auth: owner",
            'ALTER FUNCTION "pgbouncer"."get_auth"(pg_catalog.text) OWNER TO "postgres";',
        ),
        (
            lambda o: o["functions"].append({"types": ["pg_catalog.name"]}),
            "function pgbouncer.get_auth: overload",
            'DROP ROUTINE "pgbouncer"."get_auth"(pg_catalog.name);',
        ),
        (
            lambda o: o["rights"].clear(),
            "database postgres: CONNECT for pgbouncer",
            'GRANT CONNECT ON DATABASE "postgres" TO "pgbouncer";',
        ),
    ],
)
def test_one_broken_property_is_one_difference_and_one_step(
    broken: Callable[[Observed], None], what: str, step: str
) -> None:
    observed = sound()
    broken(observed)
    assert [difference.what for difference in differences(WANTED, observed)] == [what]
    steps = [line for line in repair_sql(WANTED, observed).splitlines() if not line.startswith("SET LOCAL")]
    assert steps == ["BEGIN;", step, "COMMIT;"]


@pytest.mark.parametrize(
    "key", ["language", "volatility", "strict", "security_definer", "leakproof", "parallel", "body"]
)
def test_a_changed_function_is_replaced_in_place_and_keeps_its_rights(key: str) -> None:
    observed = sound()
    observed["functions"][0][key] = "x"
    assert len(differences(WANTED, observed)) == 1
    text = repair_sql(WANTED, observed)
    assert "CREATE OR REPLACE FUNCTION" in text
    assert "DROP" not in text
    assert "GRANT" not in text


@pytest.mark.parametrize("key", ["arguments", "names", "modes", "defaults", "set", "returns", "kind"])
def test_a_function_of_another_shape_is_made_anew_and_never_on_top_of_anything(key: str) -> None:
    observed = sound()
    observed["functions"][0][key] = "x"
    lines = repair_sql(WANTED, observed).splitlines()
    order = [
        next(at for at, line in enumerate(lines) if line.startswith(start))
        for start in ("DROP ROUTINE", "CREATE FUNCTION", "ALTER FUNCTION", "REVOKE ALL", "GRANT EXECUTE")
    ]
    assert order == sorted(order)
    assert not any("OR REPLACE" in line for line in lines)


def test_rights_that_default_privileges_give_to_new_objects_are_taken_away_at_once() -> None:
    observed = bare() | {
        "default_grants": [
            {"kind": "f", "grantee": "reader"},
            {"kind": "n", "grantee": "owner of all"},
            {"kind": "r", "grantee": "nobody"},
        ]
    }
    text = repair_sql(WANTED, observed)
    assert 'ON FUNCTION "pgbouncer"."get_auth"(pg_catalog.text) FROM "reader" CASCADE' in text
    assert 'ON SCHEMA "pgbouncer" FROM "owner of all" CASCADE' in text
    assert "nobody" not in text


@pytest.mark.parametrize(("superusers", "replication"), [(False, False), (True, False), (False, True), (True, True)])
def test_superusers_and_replication_roles_are_let_in_only_when_switched_on(superusers: bool, replication: bool) -> None:
    text = body(AuthQuery(superusers=superusers, replication=replication))
    assert ("NOT r.rolsuper" in text) is not superusers
    assert ("NOT r.rolreplication" in text) is not replication


@given(NAMES, NAMES, NAMES)
def test_no_name_breaks_out_of_a_statement(name: str, schema: str, called: str) -> None:
    wanted = AuthQuery(name, schema, called)
    assert query(wanted) == (
        f"SELECT username, password FROM {identifier(schema)}.{identifier(called)}($1::pg_catalog.text)"
    )
    assert len(query(wanted).splitlines()) == 1
    assert skeleton(audit_sql(wanted)) == skeleton(audit_sql(WANTED))
    assert skeleton(repair_sql(wanted, bare())) == skeleton(repair_sql(WANTED, bare()))
    assert skeleton(removal_sql(wanted, sound(wanted))) == skeleton(removal_sql(WANTED, sound()))
    assert skeleton(body(wanted)) == skeleton(body(WANTED))
    assert differences(wanted, sound(wanted)) == ()


@pytest.mark.parametrize(
    "text",
    [
        audit_sql(WANTED),
        objects.audit_sql((objects.Role("a", "x"),), (objects.DatabaseObject("b", "c"),)),
        body(WANTED),
    ],
    ids=["auth_query", "objects", "function"],
)
def test_what_runs_as_a_superuser_finds_nothing_by_the_search_path(text: str) -> None:
    bare_text = skeleton(text)
    called = re.findall(r"([\w.\"]+) ?\(", bare_text)
    words = {
        "AND",
        "ANY",
        "AS",
        "BY",
        "CASE",
        "COALESCE",
        "EXISTS",
        "FROM",
        "NOT",
        "OPERATOR",
        "OR",
        "SELECT",
        "WHEN",
        "WHERE",
        "c",
        "u",
    }
    assert {name for name in called if not name.startswith("pg_catalog.")} <= words
    assert set(re.findall(r"(?:FROM|JOIN|LATERAL) (\w+)", bare_text)) <= {"pg_catalog", "LATERAL"}
    assert set(re.findall(r"::(\w+)", bare_text)) <= {"pg_catalog"}
    without = re.sub(r"OPERATOR\(pg_catalog\.\S+\)|count\(\*\)", "", bare_text)
    assert not re.findall(r"[-+*/<>=~!@#%^&|`?]", without)
    assert not re.findall(r"\b(?:IN|LIKE|USING|BETWEEN|DISTINCT|NULLIF|CASE \w+ WHEN)\b", without)


def skeleton(text: str) -> str:
    """The text with a "q" for each token that PostgreSQL's lexer takes as one because of its quotes."""
    return QUOTED.sub("q", text)


QUOTED = re.compile(
    r"""\ ?E'(?:[^'\\]|''|\\.)*'|'(?:[^']|'')*'|"(?:[^"]|"")*"|(\$[A-Za-z_][A-Za-z_0-9]*\$).*?\1""", re.DOTALL
)


@pytest.mark.parametrize(
    ("given_", "told"),
    [
        ({"role": ""}, "cannot be empty"),
        ({"role": "x" * 64}, "64 bytes"),
        ({"role": "a\nb"}, "control character"),
        ({"function": "a\u2028b"}, "control character"),
        ({"schema": "public"}, "is shared"),
        ({"schema": "pg_catalog"}, "is shared"),
        ({"role": "pg_monitor"}, "PostgreSQL's own"),
        ({"role": "public"}, "PostgreSQL's own"),
        ({"login": "verifier"}, "is missing"),
        ({"secret": "x"}, "logs in by certificate"),
        ({"login": "verifier", "secret": "x\0"}, "NUL"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_run(given_: dict[str, Any], told: str) -> None:
    with pytest.raises(InvalidError, match=told):
        AuthQuery(**given_)


@pytest.mark.parametrize(
    ("state", "told"),
    [
        ({"in_recovery": True, "read_only": True}, "is in recovery"),
        ({"read_only": True}, "transactions are read-only"),
        ({"superuser": False}, "no superuser"),
        ({"server_version": 130020}, "PostgreSQL 13 is too old"),
        ({"user": "pgbouncer"}, "would be turned into an ordinary role"),
        ({"owner": "pgbouncer"}, "would be turned into an ordinary role"),
    ],
)
def test_a_server_that_cannot_be_changed_is_a_clear_error(state: Observed, told: str) -> None:
    with pytest.raises(InvalidError, match=told):
        repair_sql(WANTED, bare() | state)
    with pytest.raises(InvalidError, match=told):
        removal_sql(WANTED, sound() | state)


def test_a_replica_without_differences_is_no_error() -> None:
    assert repair_sql(WANTED, sound() | {"in_recovery": True, "read_only": True}) == ""


def test_a_password_is_kept_as_long_as_the_verifier_verifies_it_and_is_never_in_the_sql() -> None:
    password = secrets.token_urlsafe()
    wanted = AuthQuery(login="verifier", secret=password)
    observed = sound(wanted)
    observed["role"] |= {"has_password": True, "verifier": scram.verifier(password)}
    assert differences(wanted, observed) == ()
    observed["role"]["verifier"] = scram.verifier(password + "x")
    (difference,) = differences(wanted, observed)
    assert str(difference) == "role pgbouncer: password: another, should be the given one"
    text = repair_sql(wanted, observed)
    assert password not in text
    (line,) = (line for line in text.splitlines() if "PASSWORD" in line)
    assert scram.verifies(line.split("'")[1], password)
    assert "SET LOCAL log_statement = 'none';" in text
    assert password not in repr(wanted)


def test_a_ready_verifier_is_given_as_it_is() -> None:
    verifier = scram.verifier(secrets.token_urlsafe())
    wanted = AuthQuery(login="verifier", secret=verifier)
    assert f"PASSWORD '{verifier}'" in repair_sql(wanted, bare())
    observed = sound(wanted)
    observed["role"] |= {"has_password": True, "verifier": verifier}
    assert differences(wanted, observed) == ()


def test_the_verifier_is_audited_only_when_it_is_compared() -> None:
    assert "'verifier', NULL" in audit_sql(WANTED)
    assert "'verifier', r.rolpassword" in audit_sql(AuthQuery(login="verifier", secret="x"))


def test_removal_takes_all_of_ours_and_nothing_when_there_is_nothing() -> None:
    lines = removal_sql(WANTED, sound()).splitlines()
    assert lines[-4:] == [
        'DROP ROUTINE "pgbouncer"."get_auth"(pg_catalog.text);',
        'DROP SCHEMA "pgbouncer";',
        'DROP ROLE "pgbouncer";',
        "COMMIT;",
    ]
    assert removal_sql(WANTED, bare()) == ""


def test_removal_leaves_a_schema_that_others_use_or_own() -> None:
    for change in ({"others": 1}, {"owner": "mallory"}):
        observed = sound()
        observed["schema"] |= change
        text = removal_sql(WANTED, observed)
        assert "DROP SCHEMA" not in text
        assert 'REVOKE ALL ON SCHEMA "pgbouncer" FROM "pgbouncer" CASCADE;' in text


def test_removal_refuses_a_role_that_holds_something_else() -> None:
    with pytest.raises(InvalidError, match="still holds table shop in app"):
        removal_sql(WANTED, sound() | {"held": ["table shop in app"]})


def test_nothing_changes_what_was_observed() -> None:
    observed = sound()
    before = copy.deepcopy(observed)
    differences(WANTED, observed)
    repair_sql(WANTED, observed)
    removal_sql(WANTED, observed)
    assert observed == before
