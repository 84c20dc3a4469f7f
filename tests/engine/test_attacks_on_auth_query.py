"""Attacks on the function by an ordinary role with CREATE on a schema and TEMP, from its own session and the pooler's.

Each is also run against functions as guides give them, where it must succeed: else it proves nothing. Ours has two
guards, qualified names and a search_path, and withstands with each of them alone.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest

from pooler import objects, scram
from pooler.auth_query import STRANGER, differences
from pooler.objects import DatabaseObject, Role
from pooler.sql import literal

from .cluster import (
    ALTER,
    GET_AUTH,
    PASSWORD,
    WANTED,
    Connection,
    Server,
    acting,
    audit,
    body_of,
    reach,
    repair,
    run,
    told,
    value,
)

OURS = "pgbouncer.get_auth"
CLOSED = "SET search_path = pg_catalog, pg_temp"
COLUMNS = "rolname, rolpassword, rolcanlogin, rolsuper, rolreplication, rolvaliduntil"
FORGED = scram.verifier(secrets.token_urlsafe())
GUIDE = (
    "SELECT rolname::text, rolpassword FROM pg_authid WHERE {} AND rolcanlogin "
    "AND (rolvaliduntil IS NULL OR rolvaliduntil > now())"
)
WORDS = """
BEGIN
  RETURN QUERY EXECUTE
    'SELECT rolname::text, rolpassword FROM pg_authid WHERE rolcanlogin AND rolname = ''' || user_name || '''';
END
"""
NAIVE = {
    "guide.by_path": ("text", "sql", "", GUIDE.format("rolname = user_name")),
    "guide.by_empty_path": ("text", "sql", "SET search_path = ''", GUIDE.format("rolname = user_name")),
    "guide.by_name": ("name", "sql", "", GUIDE.format("rolname = user_name")),
    "guide.by_case": ("text", "sql", "", GUIDE.format("lower(rolname) = lower(user_name)")),
    "guide.by_words": ("text", "plpgsql", "", WORDS),
}
"""Argument, language, setting, body: open to all, superusers allowed, each careless in a way of its own."""

ESCALATE = "BEGIN ALTER ROLE mallory SUPERUSER; RETURN {}; END"
VALUES = {"bytea": r"'\x00'::bytea", "text": "'x'::text", "bool": "true", "timestamptz": "'-infinity'::timestamptz"}


def shadow(name: str, arguments: str, result: str) -> str:
    """A function of mallory's that bears a name of PostgreSQL's and does something more."""
    body = ESCALATE.format(VALUES[result])
    return f"CREATE FUNCTION attic.{name}({arguments}) RETURNS {result} LANGUAGE plpgsql AS $x$ {body} $x$"


@dataclass(frozen=True)
class Attack:
    """What is prepared in a schema of mallory's, what is done in the session that asks, and whom it fools.

    `asked` is the name that is asked for; `known` whether it is a user's, so that its verifier is the right answer.
    """

    fooled: tuple[str, ...]
    prepared: tuple[str, ...] = ()
    session: tuple[str, ...] = ()
    search_path: str = "attic, pg_catalog"
    asked: str = "victim"
    known: bool = True


TEMPORARY = (
    f"CREATE TEMP TABLE pg_authid AS SELECT {COLUMNS} FROM attic.forged",
    "GRANT SELECT ON pg_temp.pg_authid TO PUBLIC",
)
OPERATOR = (
    shadow("same", "name, text", "bool"),
    "CREATE OPERATOR attic.= (LEFTARG = name, RIGHTARG = text, FUNCTION = attic.same)",
)
ATTACKS = {
    "temporary table": Attack(("guide.by_path", "guide.by_empty_path", "guide.twin"), (), TEMPORARY, "public"),
    "table on the search_path": Attack(
        ("guide.by_path", "guide.twin"),
        (
            "CREATE VIEW attic.pg_authid AS SELECT * FROM attic.forged",
            "GRANT SELECT ON attic.pg_authid TO PUBLIC",
        ),
    ),
    "operator": Attack(("guide.by_path", "guide.twin"), OPERATOR),
    "operator, once the session has asked": Attack(
        ("guide.by_path", "guide.twin"),
        OPERATOR,
        ("PREPARE q(text) AS SELECT * FROM {}($1)", "EXECUTE q('victim')", "SET search_path = attic, pg_catalog"),
        "public",
    ),
    "another operator": Attack(
        ("guide.twin",),
        (
            shadow("other", "name, name", "bool"),
            shadow("other", "name, text", "bool"),
            "CREATE OPERATOR attic.<> (LEFTARG = name, RIGHTARG = name, FUNCTION = attic.other)",
            "CREATE OPERATOR attic.<> (LEFTARG = name, RIGHTARG = text, FUNCTION = attic.other)",
        ),
    ),
    "function that tells the time": Attack(
        ("guide.by_path", "guide.twin"), (shadow("now", "", "timestamptz"),), asked="expired", known=False
    ),
    **{
        f"function {name}": Attack(("guide.twin",), (shadow(name, arguments, result),))
        for name, arguments, result in (
            ("sha256", "bytea", "bytea"),
            ("encode", "bytea, text", "text"),
            ("convert_to", "text, name", "bytea"),
            ("current_setting", "text, bool", "text"),
        )
    },
    "type": Attack(
        ("guide.by_path", "guide.twin"),
        (
            shadow("check", "pg_catalog.text", "bool"),
            "CREATE DOMAIN attic.text AS pg_catalog.text CHECK (attic.check(VALUE))",
        ),
    ),
    "quotes in the name": Attack(
        ("guide.by_words",), asked="nobody' OR rolname = 'victim", known=False, search_path="public"
    ),
    "another query in the name": Attack(
        ("guide.by_words",),
        asked="nobody' UNION ALL SELECT rolname::text, rolpassword FROM pg_authid WHERE rolsuper AND rolname <> '",
        known=False,
        search_path="public",
    ),
    "name that is cut": Attack(("guide.by_name",), asked="v" * 70, known=False, search_path="public"),
    "look-alike of a letter": Attack(("guide.by_case",), asked="\u212aim", known=False, search_path="public"),
    "superuser": Attack(("guide.by_path", "guide.by_empty_path"), asked="superuser", known=False, search_path="public"),
}


@pytest.fixture
def attacked(server: Server, installed: Connection, kinds: dict[str, str]) -> Iterator[Connection]:
    """Mallory has TEMP and a schema; the careless functions stand beside ours, and ours without one guard or both."""
    stripped = re.sub(r"OPERATOR\(pg_catalog\.(\S+)\)", r"\1", body_of(installed)).replace("pg_catalog.", "")
    assert "pg_catalog" not in stripped.replace("FROM pg_catalog", "")
    functions = NAIVE | {
        "guide.twin": ("text", "sql", "", stripped),
        "guide.only_path": ("text", "sql", CLOSED, stripped),
        "guide.only_names": ("text", "sql", "", body_of(installed)),
    }
    victims = ("victim", "v" * 63, "kim")
    run(
        installed,
        *(f"CREATE ROLE {name} LOGIN PASSWORD {literal(scram.verifier(PASSWORD))}" for name in victims),
        "CREATE SCHEMA guide",
        "GRANT USAGE ON SCHEMA guide TO PUBLIC",
        "CREATE SCHEMA attic AUTHORIZATION mallory",
        *(
            f"CREATE FUNCTION {name}(user_name {argument}) RETURNS TABLE (username text, password text) "
            f"LANGUAGE {language} SECURITY DEFINER {setting} AS $x$ {body.replace('$1', 'user_name')} $x$"
            for name, (argument, language, setting, body) in functions.items()
        ),
    )
    with server.connect("mallory", password=PASSWORD) as mallory:
        run(
            mallory,
            f"CREATE TABLE attic.forged AS SELECT 'victim'::name AS rolname, {literal(FORGED)} AS rolpassword, "
            "true AS rolcanlogin, false AS rolsuper, false AS rolreplication, NULL::timestamptz AS rolvaliduntil",
            "GRANT USAGE ON SCHEMA attic TO PUBLIC",
            "GRANT SELECT ON attic.forged TO PUBLIC",
        )
    yield installed
    run(installed, "ALTER ROLE mallory NOSUPERUSER", "DROP SCHEMA guide, attic CASCADE")
    run(installed, *(f"DROP ROLE {name}" for name in victims))


def gained(owner: Connection, rows: list[tuple[Any, ...]], attack: Attack) -> bool:
    """Whether the attack changed what is answered, or made mallory a superuser."""
    escalated = bool(value(owner, "SELECT rolsuper FROM pg_roles WHERE rolname = 'mallory'"))
    run(owner, "ALTER ROLE mallory NOSUPERUSER")
    truth = value(owner, "SELECT rolpassword FROM pg_authid WHERE rolname = %s", attack.asked)
    right = [(attack.asked, truth)] if attack.known else []
    return escalated or [row for row in rows if row[0] != STRANGER] != right


def made(server: Server, attack: Attack, by: str, function: str) -> list[tuple[Any, ...]]:
    """The attack's preparation, and what the function then answers; `by` is whose session asks."""
    if by == "mallory":
        options = "-c search_path=" + attack.search_path.replace(" ", "")
        session = server.connect("mallory", password=PASSWORD, options=options)
    else:
        session = acting(server, by, attack.search_path)
    with session:
        run(session, *(statement.replace("{}", function) for statement in attack.session))
        # The caller's own words are qualified, as PgBouncer's are: only what the function does is attacked.
        kind = "" if function == "guide.by_name" else "::pg_catalog.text"
        statement = f"SELECT * FROM {function}($1{kind})"
        return psycopg.RawCursor(session).execute(statement.encode(), [attack.asked]).fetchall()


@pytest.mark.parametrize("by", ["mallory", "pgbouncer"])
@pytest.mark.parametrize("name", ATTACKS)
def test_attacks_gain_nothing_and_would_have_fooled_the_functions_of_guides(
    server: Server, attacked: Connection, name: str, by: str
) -> None:
    attack = ATTACKS[name]
    with server.connect("mallory", password=PASSWORD) as mallory:
        run(mallory, *attack.prepared)

    for function in attack.fooled:
        assert gained(attacked, made(server, attack, by, function), attack), f"{function} withstood {name}"
    for function in ("guide.only_path", "guide.only_names"):
        assert not gained(attacked, made(server, attack, by, function), attack)
    if by == "mallory":
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            made(server, attack, by, OURS)
        # Even who has been let in by mistake gains nothing more.
        run(attacked, "GRANT USAGE ON SCHEMA pgbouncer TO mallory", f"GRANT EXECUTE ON FUNCTION {GET_AUTH} TO mallory")
    assert not gained(attacked, made(server, attack, by, OURS), attack)
    assert reach(attacked)["changed"] == (by == "mallory")


REFUSED = (
    "SELECT * FROM pgbouncer.get_auth('victim')",
    "SELECT (pgbouncer.get_auth(rolname)).* FROM pg_roles",
    "PREPARE p(text) AS SELECT * FROM pgbouncer.get_auth($1)",
    "DECLARE c CURSOR WITH HOLD FOR SELECT * FROM pgbouncer.get_auth('victim')",
    "COPY (SELECT * FROM pgbouncer.get_auth('victim')) TO STDOUT",
    "EXPLAIN ANALYZE SELECT * FROM pgbouncer.get_auth('victim')",
    "DO $x$ BEGIN PERFORM pgbouncer.get_auth('victim'); END $x$",
    "CREATE TEMP TABLE t AS SELECT * FROM pgbouncer.get_auth('victim')",
    "SET ROLE pgbouncer",
    "SET SESSION AUTHORIZATION pgbouncer",
    "CREATE FUNCTION attic.f() RETURNS record LANGUAGE sql AS $x$ SELECT pgbouncer.get_auth('victim') $x$",
    "CREATE VIEW attic.v AS SELECT * FROM pgbouncer.get_auth('victim')",
    "CREATE AGGREGATE attic.a (text) (SFUNC = pgbouncer.get_auth, STYPE = text)",
    "CREATE FUNCTION pgbouncer.get_auth(name) RETURNS text LANGUAGE sql AS $x$ SELECT 'mine' $x$",
    "CREATE OR REPLACE FUNCTION pgbouncer.get_auth(text) RETURNS text LANGUAGE sql AS $x$ SELECT 'mine' $x$",
    "ALTER FUNCTION pgbouncer.get_auth(text) RESET ALL",
    "ALTER FUNCTION pgbouncer.get_auth(text) OWNER TO mallory",
    "ALTER SCHEMA pgbouncer RENAME TO attic2",
    "ALTER ROLE pgbouncer SET search_path = attic",
    "GRANT pgbouncer TO mallory",
    "GRANT USAGE ON SCHEMA pgbouncer TO mallory",
    "SELECT rolpassword FROM pg_authid",
)


def test_an_ordinary_role_cannot_call_it_in_any_way_and_could_call_the_functions_of_guides(
    server: Server, attacked: Connection
) -> None:
    with server.connect("mallory", password=PASSWORD) as mallory:
        for asked in ("victim", "superuser"):
            ((user, verifier),) = mallory.execute(f"SELECT * FROM guide.by_path('{asked}')".encode()).fetchall()
            assert user == asked
            assert scram.is_verifier(verifier)
        for statement in REFUSED:
            with pytest.raises((psycopg.errors.InsufficientPrivilege, psycopg.errors.InvalidGrantOperation)):
                run(mallory, statement)
        # Past the schema, EXECUTE alone must stop her.
        run(attacked, "GRANT USAGE ON SCHEMA pgbouncer TO mallory")
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="permission denied for function get_auth"):
            run(mallory, "SELECT * FROM pgbouncer.get_auth('victim')")


def test_a_repair_ends_what_open_sessions_have_prepared(server: Server, attacked: Connection) -> None:
    run(attacked, "GRANT USAGE ON SCHEMA pgbouncer TO mallory", f"GRANT EXECUTE ON FUNCTION {GET_AUTH} TO mallory")
    with server.connect("mallory", password=PASSWORD) as mallory:
        run(mallory, "PREPARE p(text) AS SELECT * FROM pgbouncer.get_auth($1)")
        assert value(mallory, "EXECUTE p('victim')") == "victim"
        assert reach(attacked)["changed"]
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            run(mallory, "EXECUTE p('victim')")


def test_what_is_asked_for_others_is_seen_by_nobody_else(server: Server, attacked: Connection) -> None:
    with acting(server, "pgbouncer") as session, server.connect("mallory", password=PASSWORD) as mallory:
        assert told(session, "victim")
        pid = session.info.backend_pid
        seen = value(mallory, "SELECT to_jsonb(a)::text FROM pg_stat_activity a WHERE pid = %s", pid)
        assert "insufficient privilege" in seen
        assert "get_auth" not in seen
        assert value(mallory, "SELECT count(*) FROM pg_prepared_statements") == 0


STARTUP = (
    "-c role=pgbouncer",
    "-c role=postgres",
    "-c session_authorization=postgres",
    "-c session_preload_libraries=attic",
    "-c log_statement=all",
    "-c session_replication_role=replica",
)


@pytest.mark.parametrize("options", STARTUP)
def test_options_in_the_startup_packet_give_no_other_rights(server: Server, attacked: Connection, options: str) -> None:
    assert attacked
    with pytest.raises(psycopg.OperationalError, match="permission denied"):
        server.connect("mallory", password=PASSWORD, options=options)
    with server.connect(options=options.replace("=attic", "=")) as owner:
        assert value(owner, "SELECT 1") == 1


TRAP = "BEGIN RAISE EXCEPTION 'trapped'; END"
TRAPS = [
    *(
        f"CREATE FUNCTION attic.{word}_{index}({left}, {right}) RETURNS bool LANGUAGE plpgsql AS $x$ {TRAP} $x$; "
        f"CREATE OPERATOR attic.{sign} (LEFTARG = {left}, RIGHTARG = {right}, FUNCTION = attic.{word}_{index})"
        for word, sign in (("eq", "="), ("ne", "<>"))
        for index, (left, right) in enumerate(
            [(kind, kind) for kind in ("oid", "name", "text", '"char"', "regclass", "bool", "smallint", "int")]
            + [("oid", "regclass"), ("name", "text"), ("oid", "regtype"), ("oid", "int"), ("smallint", "int")]
        )
    ),
    *(
        f"CREATE FUNCTION attic.{name} LANGUAGE plpgsql AS $x$ {TRAP} $x$"
        for name in (
            "current_setting(text) RETURNS text",
            "current_database() RETURNS name",
            "pg_is_in_recovery() RETURNS bool",
            "pg_get_userbyid(oid) RETURNS name",
            "unnest(oid[]) RETURNS SETOF oid",
            "to_jsonb(text[]) RETURNS jsonb",
            "count() RETURNS bigint",
            "now() RETURNS timestamptz",
        )
    ),
    "CREATE TABLE attic.pg_authid (trapped int)",
    "CREATE TABLE attic.pg_proc (trapped int)",
    "CREATE DOMAIN attic.text AS pg_catalog.text CHECK (false)",
]


def test_audit_and_repair_fall_into_no_trap_that_others_laid_on_the_search_path(
    server: Server, attacked: Connection
) -> None:
    with server.connect("mallory", password=PASSWORD) as mallory:
        run(mallory, *TRAPS)
    with server.connect(options="-c search_path=attic,pg_catalog") as hurried:
        with pytest.raises(psycopg.errors.RaiseException, match="trapped"):
            run(hurried, "SELECT oid FROM pg_catalog.pg_authid WHERE rolname = 'pgbouncer'")
        run(attacked, f"{ALTER} RESET search_path", "ALTER ROLE pgbouncer CREATEDB", f"DROP FUNCTION {GET_AUTH}")
        assert len(differences(WANTED, audit(hurried))) == 2
        repair(hurried)
        assert differences(WANTED, audit(hurried)) == ()
        roles, databases = (Role("mallory", PASSWORD),), (DatabaseObject("postgres2", "mallory"),)
        observed = value(hurried, objects.audit_sql(roles, databases))
        assert [str(d) for d in objects.differences(roles, databases, observed)] == [
            "database postgres2: missing, should be present"
        ]
