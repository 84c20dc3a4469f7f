"""auth_query and objects on a real PostgreSQL: what is broken by hand is found and repaired, nothing else touched."""

from __future__ import annotations

import json
import re
import secrets
import subprocess

import psycopg
import pytest

from pooler import objects, scram
from pooler.auth_query import AuthQuery, audit_sql, differences, removal_sql, repair_sql
from pooler.errors import InvalidError
from pooler.objects import DatabaseObject, Role
from pooler.sql import identifier, literal

from . import trial
from .cluster import (
    ALTER,
    GET_AUTH,
    KINDS,
    NOBODY,
    PASSWORD,
    WANTED,
    Connection,
    Json,
    Server,
    acting,
    audit,
    body_of,
    lookup,
    reach,
    repair,
    run,
    told,
    value,
)

SNAPSHOT = """
SELECT jsonb_build_object(
 'roles', (SELECT jsonb_agg(to_jsonb(r) - 'oid' || jsonb_build_object(
     'rolvaliduntil', nullif(rolvaliduntil, 'infinity')) ORDER BY rolname) FROM pg_authid r),
 'memberships', (SELECT jsonb_agg(concat_ws('>', roleid::regrole, member::regrole, grantor::regrole, admin_option)
   ORDER BY roleid::regrole::text, member::regrole::text) FROM pg_auth_members),
 'settings', (SELECT jsonb_agg(to_jsonb(s)) FROM pg_db_role_setting s),
 'schemas', (SELECT jsonb_agg(jsonb_build_object('name', nspname, 'owner', nspowner::regrole,
     'acl', (SELECT jsonb_agg(i::text ORDER BY i::text) FROM aclexplode(coalesce(nspacl, acldefault('n', nspowner))) i))
   ORDER BY nspname) FROM pg_namespace WHERE nspname !~ '^pg_(temp|toast)'),
 'functions', (SELECT jsonb_agg(to_jsonb(p) - '{oid,proowner,proacl,pronamespace}'::text[] || jsonb_build_object(
     'prosrc', regexp_replace(prosrc, 'seed:[0-9a-f]{32}', 'seed', 'g'),
     'schema', pronamespace::regnamespace, 'owner', proowner::regrole,
     'acl', (SELECT jsonb_agg(i::text ORDER BY i::text) FROM aclexplode(coalesce(proacl, acldefault('f', proowner))) i))
   ORDER BY pronamespace::regnamespace::text, proname, proargtypes::text)
   FROM pg_proc p WHERE pronamespace::regnamespace::text NOT IN ('pg_catalog', 'information_schema')),
 'databases', (SELECT jsonb_agg(jsonb_build_object('name', datname, 'owner', datdba::regrole, 'acl', (
     SELECT jsonb_agg(i::text ORDER BY i::text) FROM aclexplode(coalesce(datacl, acldefault('d', datdba))) i
     WHERE privilege_type <> 'CONNECT')) ORDER BY datname) FROM pg_database),
 'defaults', (SELECT jsonb_agg(to_jsonb(d)) FROM pg_default_acl d))
"""


def snapshot(connection: Connection) -> Json:
    """All roles, memberships, settings, schemas, functions and rights, by name: what is made anew has a new oid."""
    found: Json = value(connection, SNAPSHOT)
    return found


def redefined(attributes: str, body: str = "", setting: str = "SET search_path = pg_catalog, pg_temp") -> str:
    """Our function with something else about it, replaced in place."""
    text = body or "SELECT rolname::text, rolpassword FROM pg_catalog.pg_authid WHERE rolname = user_name"
    return (
        "CREATE OR REPLACE FUNCTION pgbouncer.get_auth(user_name text) RETURNS TABLE (username text, password text) "
        f"{attributes} {setting} AS $x$ {text} $x$"
    )


F, S, R, D = "function pgbouncer.get_auth", "schema pgbouncer", "role pgbouncer", "database postgres"
RECREATE = f"DROP FUNCTION {GET_AUTH}; CREATE FUNCTION pgbouncer.get_auth"
SAME = "LANGUAGE sql STABLE STRICT SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS"
CLOSE = f"REVOKE ALL ON FUNCTION {GET_AUTH} FROM PUBLIC; GRANT EXECUTE ON FUNCTION {GET_AUTH} TO pgbouncer"

BROKEN: dict[str, tuple[str, set[str]]] = {
    "superuser": ("ALTER ROLE pgbouncer SUPERUSER", {f"{R}: superuser"}),
    "createdb": ("ALTER ROLE pgbouncer CREATEDB", {f"{R}: createdb"}),
    "createrole": ("ALTER ROLE pgbouncer CREATEROLE", {f"{R}: createrole"}),
    "inherit": ("ALTER ROLE pgbouncer INHERIT", {f"{R}: inherit"}),
    "replication": ("ALTER ROLE pgbouncer REPLICATION", {f"{R}: replication"}),
    "bypassrls": ("ALTER ROLE pgbouncer BYPASSRLS", {f"{R}: bypassrls"}),
    "connection limit": ("ALTER ROLE pgbouncer CONNECTION LIMIT 0", {f"{R}: connection limit"}),
    "expired": ("ALTER ROLE pgbouncer VALID UNTIL '2001-01-01'", {f"{R}: valid until"}),
    "password": ("ALTER ROLE pgbouncer PASSWORD 'guessed'", {f"{R}: password"}),
    "no login": ("ALTER ROLE pgbouncer NOLOGIN", {f"{R}: login"}),
    "setting": ("ALTER ROLE pgbouncer SET role = 'team'", {f"{R}: setting"}),
    "setting in a database": (
        "ALTER ROLE pgbouncer IN DATABASE postgres SET search_path = shop; "
        "ALTER ROLE pgbouncer IN DATABASE postgres SET work_mem = '1GB'",
        {f"{R}: setting in database postgres"},
    ),
    "member of a role": ("GRANT pg_read_all_data TO pgbouncer", {f"{R}: member of"}),
    "member by another grantor": (
        "GRANT team TO deputy WITH ADMIN OPTION; SET ROLE deputy; GRANT team TO pgbouncer; RESET ROLE",
        {f"{R}: member of"},
    ),
    "has a member": ("GRANT pgbouncer TO mallory", {f"{R}: has the member"}),
    "schema owner": ("ALTER SCHEMA pgbouncer OWNER TO mallory", {f"{S}: owner"}),
    "schema owned by the role": (
        "ALTER SCHEMA pgbouncer OWNER TO pgbouncer",
        {f"{S}: owner", f"{S}: USAGE for pgbouncer"},
    ),
    "schema usage to public": ("GRANT USAGE ON SCHEMA pgbouncer TO PUBLIC", {f"{S}: USAGE for PUBLIC"}),
    "schema create to public": ("GRANT CREATE ON SCHEMA pgbouncer TO PUBLIC", {f"{S}: CREATE for PUBLIC"}),
    "schema usage to another": ("GRANT USAGE ON SCHEMA pgbouncer TO team", {f"{S}: USAGE for team"}),
    "schema usage missing": ("REVOKE USAGE ON SCHEMA pgbouncer FROM pgbouncer", {f"{S}: USAGE for pgbouncer"}),
    "schema create to the role": ("GRANT CREATE ON SCHEMA pgbouncer TO pgbouncer", {f"{S}: CREATE for pgbouncer"}),
    "schema grant option": (
        "GRANT USAGE ON SCHEMA pgbouncer TO pgbouncer WITH GRANT OPTION",
        {f"{S}: USAGE for pgbouncer"},
    ),
    "schema handed on": (
        "GRANT USAGE ON SCHEMA pgbouncer TO pgbouncer WITH GRANT OPTION; "
        "SET ROLE pgbouncer; GRANT USAGE ON SCHEMA pgbouncer TO PUBLIC, mallory; RESET ROLE",
        {f"{S}: USAGE for pgbouncer", f"{S}: USAGE for PUBLIC", f"{S}: USAGE for mallory"},
    ),
    "schema missing": ("DROP SCHEMA pgbouncer CASCADE", {S, F}),
    "function missing": (f"DROP FUNCTION {GET_AUTH}", {F}),
    "function owner": (f"{ALTER} OWNER TO mallory", {f"{F}: owner"}),
    "body": (redefined("LANGUAGE sql STABLE STRICT SECURITY DEFINER"), {f"{F}: body"}),
    "language": (
        redefined(
            "LANGUAGE plpgsql STABLE STRICT SECURITY DEFINER",
            "BEGIN RETURN QUERY SELECT rolname::text, rolpassword FROM pg_authid WHERE rolname = user_name; END",
        ),
        {f"{F}: body", f"{F}: language"},
    ),
    "volatile": (f"{ALTER} VOLATILE", {f"{F}: volatility"}),
    "immutable": (f"{ALTER} IMMUTABLE", {f"{F}: volatility"}),
    "not strict": (f"{ALTER} CALLED ON NULL INPUT", {f"{F}: strict"}),
    "security invoker": (f"{ALTER} SECURITY INVOKER", {f"{F}: security definer"}),
    "leakproof": (f"{ALTER} LEAKPROOF", {f"{F}: leakproof"}),
    "parallel": (f"{ALTER} PARALLEL SAFE", {f"{F}: parallel"}),
    "no search_path": (f"{ALTER} RESET search_path", {f"{F}: settings"}),
    "empty search_path": (f"{ALTER} SET search_path = ''", {f"{F}: settings"}),
    "another search_path": (f"{ALTER} SET search_path = pg_catalog, shop", {f"{F}: settings"}),
    "one more setting": (f"{ALTER} SET log_statement = 'all'", {f"{F}: settings"}),
    "execute to public": (f"GRANT EXECUTE ON FUNCTION {GET_AUTH} TO PUBLIC", {f"{F}: EXECUTE for PUBLIC"}),
    "execute to another": (f"GRANT EXECUTE ON FUNCTION {GET_AUTH} TO mallory", {f"{F}: EXECUTE for mallory"}),
    "execute missing": (f"REVOKE EXECUTE ON FUNCTION {GET_AUTH} FROM pgbouncer", {f"{F}: EXECUTE for pgbouncer"}),
    "execute grant option": (
        f"GRANT EXECUTE ON FUNCTION {GET_AUTH} TO pgbouncer WITH GRANT OPTION",
        {f"{F}: EXECUTE for pgbouncer"},
    ),
    "execute by default privileges": (
        "ALTER DEFAULT PRIVILEGES GRANT EXECUTE ON FUNCTIONS TO team; "
        f"DROP FUNCTION {GET_AUTH}; ALTER DEFAULT PRIVILEGES GRANT USAGE ON SCHEMAS TO mallory; DROP SCHEMA pgbouncer",
        {S, F},
    ),
    "overload by type": (
        "CREATE FUNCTION pgbouncer.get_auth(name) RETURNS TABLE (u text) LANGUAGE sql AS 'SELECT $1::text'",
        {f"{F}: overload"},
    ),
    "overload of a type of others": (
        "CREATE FUNCTION pgbouncer.get_auth(shop.thing[], VARIADIC int[]) RETURNS text LANGUAGE sql AS 'SELECT NULL'",
        {f"{F}: overload"},
    ),
    "overload by a default": (
        "CREATE FUNCTION pgbouncer.get_auth(text, text DEFAULT '') RETURNS text LANGUAGE sql AS 'SELECT $1'",
        {f"{F}: overload"},
    ),
    "overload without arguments": (
        "CREATE PROCEDURE pgbouncer.get_auth() LANGUAGE sql AS 'SELECT 1'",
        {f"{F}: overload"},
    ),
    "result": (
        f"{RECREATE}(user_name text) RETURNS record {SAME} 'SELECT NULL::text, NULL::text'; {CLOSE}",
        {f"{F}: {what}" for what in ("body", "argument types", "argument names", "argument modes", "returns a set")},
    ),
    "argument name": (
        f"{RECREATE}(who text) RETURNS TABLE (username text, password text) {SAME} 'SELECT $1, $1'; {CLOSE}",
        {f"{F}: body", f"{F}: argument names"},
    ),
    "argument default": (
        redefined("LANGUAGE sql STABLE STRICT SECURITY DEFINER").replace(
            "user_name text", "user_name text DEFAULT 'x'"
        ),
        {f"{F}: body", f"{F}: arguments with a default"},
    ),
    "create in the database": (
        "GRANT CREATE, TEMPORARY ON DATABASE postgres TO pgbouncer",
        {f"{D}: CREATE for pgbouncer", f"{D}: TEMPORARY for pgbouncer"},
    ),
    "connect grant option": (
        "GRANT CONNECT ON DATABASE postgres TO pgbouncer WITH GRANT OPTION",
        {f"{D}: CONNECT for pgbouncer"},
    ),
    "no connect": (
        "REVOKE CONNECT ON DATABASE postgres FROM PUBLIC",
        {f"{D}: CONNECT for pgbouncer"},
    ),
}


def halves(difference: str) -> tuple[str, str]:
    """What differs, and what is said of it."""
    what, _, said = difference.rpartition(": ")
    return what, said


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_broken_by_hand_is_found_in_check_mode_and_repaired_and_nothing_else_is_touched(
    installed: Connection, name: str
) -> None:
    breaking, expected = BROKEN[name]
    before = snapshot(installed)
    run(installed, breaking)
    broken = snapshot(installed)
    try:
        planned = reach(installed, check=True)
        assert {what for what, _ in map(halves, planned["differences"])} == expected
        assert planned["sql"][0] in planned["diff"][1]["prepared"]
        assert snapshot(installed) == broken
        done = reach(installed)
        assert (done["changed"], done["sql"], done["differences"]) == (True, planned["sql"], planned["differences"])
        assert not reach(installed)["changed"]
        run(installed, "REVOKE ADMIN OPTION FOR team FROM deputy CASCADE", "REVOKE team FROM deputy")
    finally:
        run(
            installed,
            "ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM team",
            "ALTER DEFAULT PRIVILEGES REVOKE USAGE ON SCHEMAS FROM mallory",
        )
    assert snapshot(installed) == before


def test_only_roles_that_may_log_in_are_told_and_all_others_are_strangers(
    server: Server, kinds: dict[str, str]
) -> None:
    with acting(server, "pgbouncer") as session:
        found = {name: told(session, name) for name in [*KINDS, *NOBODY]}
    assert found == {name: kinds[name] if served else None for name, (_, served) in KINDS.items()} | dict.fromkeys(
        NOBODY
    )


def test_decoys_stay_as_they_are_and_look_like_the_verifiers_of_users(
    server: Server, installed: Connection, kinds: dict[str, str]
) -> None:
    def decoys() -> dict[str, str]:
        with acting(server, "pgbouncer") as session:
            return {name: lookup(session, name)[0][1] for name in (*NOBODY, "expired", "superuser", "東京")}

    first = decoys()
    assert len({part for verifier in first.values() for part in re.split(r"[:$]", verifier)[2:]}) == 3 * len(first)
    real = kinds["ordinary"]
    for verifier in first.values():
        assert [len(part) for part in re.split(r"[:$]", verifier)] == [len(part) for part in re.split(r"[:$]", real)]
        assert verifier.split(":")[0] == real.split(":")[0]
    # Whatever is repaired, names keep their decoys; with another function they would not.
    run(installed, redefined("LANGUAGE sql VOLATILE", body=body_of(installed) + " -- changed"))
    assert reach(installed)["changed"]
    assert decoys() == first
    run(installed, f"DROP FUNCTION {GET_AUTH}")
    repair(installed, AuthQuery())
    assert not set(decoys().values()) & set(first.values())


def test_seed_of_decoys_is_shown_nowhere(installed: Connection) -> None:
    run(installed, f"DROP FUNCTION {GET_AUTH}")
    done = reach(installed)
    (seed,) = set(re.findall("'seed:([0-9a-f]{32})'", body_of(installed)))
    assert seed not in str(done)
    assert "'seed:********'" in done["sql"][0]


def test_superusers_and_replication_roles_are_told_when_switched_on_and_our_own_role_never(
    server: Server, installed: Connection, kinds: dict[str, str]
) -> None:
    wanted = AuthQuery(superusers=True, replication=True, login="verifier", secret=secrets.token_urlsafe())
    repair(installed, wanted)
    assert differences(wanted, audit(installed, wanted)) == ()
    with acting(server, "pgbouncer") as session:
        for name in ("superuser", "replication"):
            assert told(session, name) == kinds[name]
        for name in ("expired", "no login", "pgbouncer", "postgres"):
            assert told(session, name) is None


ODD_NAMES = [
    'say "hi"',
    "o'clock",
    "back\\slash\\",
    "\\",
    "a b;c--d/*e",
    "$1",
    "%s %% :name :'name'",
    "Grüße 東京 🐘",
    "UPPER",
    "upper",
    "admin",
    "аdmin",
    "e\u0301",
    "é",
    "ä" * 31 + "x",
    "$get_auth$",
    "a = b",
]


def test_each_role_gets_its_own_verifier_whatever_its_name_and_look_alikes_get_nothing(
    server: Server, installed: Connection
) -> None:
    verifiers = {name: scram.verifier(secrets.token_urlsafe()) for name in ODD_NAMES}
    for name, verifier in verifiers.items():
        run(installed, f"CREATE ROLE {identifier(name)} LOGIN PASSWORD {literal(verifier)}")
    try:
        with acting(server, "pgbouncer") as session:
            for name, verifier in verifiers.items():
                assert told(session, name) == verifier
            # PostgreSQL would cut the last one at 63 bytes, to a name that exists.
            for name in ("ADMIN", "admin ", " admin", "admın", "ａdmin", "ä" * 31 + "xx"):
                assert told(session, name) is None
    finally:
        run(installed, *(f"DROP ROLE {identifier(name)}" for name in verifiers))


@pytest.mark.parametrize("name", ODD_NAMES)
def test_our_own_objects_may_have_any_name_and_go_away_without_a_trace(
    server: Server, owner: Connection, name: str
) -> None:
    before = snapshot(owner)
    wanted = AuthQuery(role=name, schema=name, function=name)
    run(owner, f"CREATE ROLE victim LOGIN PASSWORD {literal(scram.verifier(PASSWORD))}")
    try:
        repair(owner, wanted)
        assert differences(wanted, audit(owner, wanted)) == ()
        with acting(server, name) as session:
            assert scram.verifies(told(session, "victim", wanted) or "", PASSWORD)
            assert told(session, name, wanted) is None
    finally:
        run(owner, "DROP ROLE victim")
        run(owner, removal_sql(wanted, audit(owner, wanted)))
    assert removal_sql(wanted, audit(owner, wanted)) == ""
    assert snapshot(owner) == before


def test_rights_that_the_role_holds_elsewhere_are_told_and_left(installed: Connection) -> None:
    run(installed, "GRANT SELECT ON pg_catalog.pg_authid TO pgbouncer", "CREATE DATABASE books OWNER pgbouncer")
    result = reach(installed)
    assert not result["changed"]
    told = "\n".join(result["warnings"])
    assert re.search(r"role pgbouncer also holds table (pg_catalog\.)?pg_authid in postgres", told)
    assert "role pgbouncer also holds database books in the cluster" in told
    run(installed, "DROP DATABASE books", "REVOKE SELECT ON pg_catalog.pg_authid FROM pgbouncer")
    assert "also holds" not in str(reach(installed)["warnings"])


def test_a_server_that_does_not_let_the_role_in_by_certificate_is_told_of_with_the_lines(installed: Connection) -> None:
    (warning,) = reach(installed)["warnings"]
    assert warning == (
        "here: no line of pg_hba.conf lets role pgbouncer in by certificate; put these lines above all others: "
        "hostssl all pgbouncer all cert; host all pgbouncer all reject"
    )


def test_a_read_only_connection_is_a_clear_error(server: Server, installed: Connection) -> None:
    run(installed, "ALTER ROLE pgbouncer CREATEDB")
    with server.connect(options="-c default_transaction_read_only=on") as connection:
        with pytest.raises(InvalidError, match="transactions are read-only here"):
            repair(connection)
        assert [d.what for d in differences(WANTED, audit(connection))] == [f"{R}: createdb"]


def test_a_repair_is_all_or_nothing(installed: Connection) -> None:
    run(installed, "ALTER ROLE pgbouncer NOLOGIN", f"DROP FUNCTION {GET_AUTH}")
    text = repair_sql(WANTED, audit(installed))
    # Somebody was faster: what he made is not built upon.
    run(installed, redefined("LANGUAGE sql VOLATILE"))
    with pytest.raises(psycopg.errors.DuplicateFunction):
        run(installed, text)
    run(installed, "ROLLBACK")
    assert audit(installed)["role"]["login"] is False
    repair(installed)
    assert differences(WANTED, audit(installed)) == ()


def test_removal_refuses_what_the_role_holds_elsewhere_and_leaves_a_schema_in_use(installed: Connection) -> None:
    run(installed, "CREATE TABLE public.ledger (a int)", "GRANT SELECT ON public.ledger TO pgbouncer")
    with pytest.raises(InvalidError, match=r"still holds table (public\.)?ledger in postgres"):
        removal_sql(WANTED, audit(installed))
    run(installed, "DROP TABLE public.ledger", "CREATE TABLE pgbouncer.notes (a int)")
    run(installed, removal_sql(WANTED, audit(installed)))
    left = audit(installed)
    assert (left["role"], left["functions"], left["schema"]["others"]) == (None, [], 1)
    run(installed, "DROP SCHEMA pgbouncer CASCADE")


def test_removal_refuses_it_also_when_the_schema_is_gone_already(installed: Connection) -> None:
    run(
        installed,
        "CREATE DATABASE books",
        "GRANT CONNECT ON DATABASE books TO pgbouncer",
        "DROP SCHEMA pgbouncer CASCADE",
    )
    with pytest.raises(InvalidError, match="still holds database books in the cluster"):
        removal_sql(WANTED, audit(installed))
    run(installed, "DROP DATABASE books")
    run(installed, removal_sql(WANTED, audit(installed)))
    assert audit(installed)["role"] is None


def test_another_superuser_makes_the_same_objects_whatever_its_default_privileges(
    server: Server, installed: Connection
) -> None:
    before = snapshot(installed)
    run(installed, removal_sql(WANTED, audit(installed)))
    given = [
        "ALTER DEFAULT PRIVILEGES FOR ROLE deputy {} EXECUTE ON FUNCTIONS {} team",
        "ALTER DEFAULT PRIVILEGES FOR ROLE postgres {} USAGE ON SCHEMAS {} team",
    ]
    run(installed, *(statement.format("GRANT", "TO") for statement in given))
    try:
        with acting(server, "deputy") as deputy:
            repair(deputy)
            assert differences(WANTED, audit(deputy)) == ()
    finally:
        run(installed, *(statement.format("REVOKE", "FROM") for statement in given))
    assert without_numbers(snapshot(installed)) == without_numbers(before)


def without_numbers(shot: Json) -> Json:
    """A snapshot without access lists, which name roles by oid: for times when our role was made anew."""
    return {
        key: [{k: v for k, v in item.items() if k != "acl"} if isinstance(item, dict) else item for item in items or ()]
        for key, items in shot.items()
    }


def test_removal_takes_the_right_to_connect_back(installed: Connection) -> None:
    run(installed, "REVOKE CONNECT ON DATABASE postgres FROM PUBLIC")
    repair(installed)
    assert "pgbouncer" in {right["grantee"] for right in audit(installed)["rights"]}
    run(installed, removal_sql(WANTED, audit(installed)))
    assert audit(installed)["role"] is None


def test_psql_in_a_pipe_takes_every_text_as_it_is(server: Server, owner: Connection) -> None:
    wanted = AuthQuery(role="rôle \"':x\\", schema="schéma \\'", function="$get_auth$ :'x'")

    def psql(text: str) -> str:
        command = [
            "nsenter",
            f"--target={trial.postmaster(server.place)}",
            "--mount",
            "--root",
            "env",
            "-i",
            "PATH=/usr/bin:/bin",
        ]
        command += ["psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-h", "/mnt", "-U", "postgres", "postgres"]
        return subprocess.run(command, input=text, check=True, capture_output=True, encoding="utf-8").stdout

    psql(repair_sql(wanted, json.loads(psql(audit_sql(wanted)))))
    assert differences(wanted, json.loads(psql(audit_sql(wanted)))) == ()
    psql(removal_sql(wanted, json.loads(psql(audit_sql(wanted)))))
    assert audit(owner, wanted)["role"] is None


def test_roles_and_databases_are_made_kept_and_removed_and_their_passwords_log_in(
    server: Server, owner: Connection
) -> None:
    passwords = {name: secrets.token_urlsafe() for name in ODD_NAMES}
    roles = tuple(Role(name, password) for name, password in passwords.items())
    databases = (DatabaseObject("ODD \"db'\\", ODD_NAMES[0]), DatabaseObject("🐘" * 15, ODD_NAMES[2]))
    before = snapshot(owner)

    def observed() -> Json:
        found: Json = value(owner, objects.audit_sql(roles, databases))
        return found

    run(owner, *objects.statements(roles, databases, observed()))
    kept = observed()
    assert objects.differences(roles, databases, kept) == ()
    assert objects.statements(roles, databases, kept) == ()
    for name, password in passwords.items():
        with server.connect(name, databases[0].name, password=password) as session:
            assert value(session, "SELECT current_user") == name
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        server.connect(ODD_NAMES[0], password="wrong")
    run(
        owner,
        f"ALTER DATABASE {identifier(databases[1].name)} OWNER TO team",
        f"ALTER ROLE {identifier(ODD_NAMES[0])} NOLOGIN",
    )
    assert len(objects.differences(roles, databases, observed())) == 2
    run(owner, *objects.statements(roles, databases, observed()))
    assert observed() == kept
    run(owner, *objects.removal(roles, databases, observed()))
    assert snapshot(owner) == before


def test_what_a_login_makes_belongs_to_the_role_it_acts_as_through_every_reset(
    server: Server, owner: Connection
) -> None:
    odd, turns = ODD_NAMES[0], ("turn 1", "turn 2")
    passwords = {name: secrets.token_urlsafe() for name in turns}
    roles = (*(Role(name, passwords[name], acts_as=odd) for name in turns), Role(odd, login=False))
    databases = (DatabaseObject("of the one that owns", odd),)
    before = snapshot(owner)

    def observed(wanted: tuple[Role, ...] = roles) -> Json:
        found: Json = value(owner, objects.audit_sql(wanted, databases))
        return found

    run(owner, *objects.statements(roles, databases, observed()))
    assert objects.statements(roles, databases, observed()) == ()
    for name in turns:
        with server.connect(name, databases[0].name, password=passwords[name]) as session:
            for reset in ("SELECT 1", "RESET ALL", "DISCARD ALL"):
                run(session, reset)
                assert value(session, "SELECT current_user") == odd
            run(session, f"CREATE TABLE {identifier(name)} ()")
            owned = "SELECT tableowner FROM pg_catalog.pg_tables WHERE tablename = %s"
            assert value(session, owned, name) == odd
    found = value(owner, objects.verifiers_sql([*turns, odd, "nobody"]))["verifiers"]
    assert {name: scram.verifies(found[name], passwords[name]) for name in found} == dict.fromkeys(turns, True)

    withdrawn = (Role(turns[0], login=False, acts_as=odd), *roles[1:])
    run(owner, *objects.statements(withdrawn, databases, observed(withdrawn)))
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        server.connect(turns[0], databases[0].name, password=passwords[turns[0]])
    with server.connect(turns[1], databases[0].name, password=passwords[turns[1]]) as session:
        run(session, f"DROP TABLE {identifier(turns[0])}")
    run(owner, *objects.removal(roles, databases, observed()))
    assert snapshot(owner) == before
