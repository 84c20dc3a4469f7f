"""The role, schema and function through which PgBouncer asks PostgreSQL for verifiers: query, audit, repair, removal.

Nothing here talks to a server: `audit_sql` is run by the caller (as a superuser, in the database named by auth_dbname),
and its one JSON document comes back as `observed`. Each guarded property is compared and repaired on its own.

What the function is made of, and why:
- SECURITY DEFINER, owned by the bootstrap superuser: pg_authid is closed to others, and this owner cannot be dropped.
- search_path = pg_catalog, pg_temp. Not '': with that pg_temp would be searched first for tables. Names and operators
  are qualified all the same, so that neither guard stands alone.
- A decoy for whoever may not log in: no row is "no such user" to the engine, and a row of NULLs "bouncer config error",
  while a wrong password is "SASL authentication failed", so that each client could tell users from strangers. With a
  verifier of a password that nobody knows, and the same one each time that a name is asked for, all three are alike.
  It is worked out for users as well, which OFFSET 0 sees to, so that both take as long; and its name is always
  STRANGER, since the engine never forgets a name that it was told.
- PARALLEL UNSAFE: it reads one row by an index, which no parallel plan can speed up.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import IntEnum
from typing import Any, Literal

from . import auth_audit
from .errors import InvalidError, PoolerError, Problem
from .objects import CALM, QUIET, Difference, kept_verifier, obstacles
from .sql import dollar, identifier, literal

__all__ = [
    "AuthQuery",
    "Difference",
    "audit_sql",
    "differences",
    "held",
    "query",
    "removal_sql",
    "repair_sql",
    "with_verifier",
]

STRANGER = "pg_no_such_user"
"""The name that comes with a decoy. PostgreSQL lets nobody have a name that begins with pg_."""

_SEED = re.compile(r"'seed:([0-9a-f]{32})'")
"""In the function's text: what decoys are made of. Whoever can read it can read the list of roles as well."""

_EQ = "OPERATOR(pg_catalog.=)"
_NE = "OPERATOR(pg_catalog.<>)"
_PUBLIC = "PUBLIC"
_TEXT = "pg_catalog.text"
_ATTRIBUTES = {
    "superuser": "SUPERUSER",
    "createdb": "CREATEDB",
    "createrole": "CREATEROLE",
    "inherit": "INHERIT",
    "replication": "REPLICATION",
    "bypassrls": "BYPASSRLS",
}


@dataclass(frozen=True)
class AuthQuery:
    """The objects wanted. Raises InvalidError for names that cannot be used.

    login: "certificate", then the role has no password at all; or "verifier", then `secret` is its password or a ready
    verifier. superusers, replication: whether roles of that kind may log in through the pooler.
    """

    role: str = "pgbouncer"
    schema: str = "pgbouncer"
    function: str = "get_auth"
    superusers: bool = False
    replication: bool = False
    login: Literal["certificate", "verifier"] = "certificate"
    secret: str = field(default="", repr=False)
    seed: str = field(default_factory=lambda: secrets.token_hex(16), init=False, repr=False, compare=False)
    """Of a function that is made anew; an existing one keeps its own, and its decoys."""

    def __post_init__(self) -> None:
        if found := tuple(_problems(self)):
            raise InvalidError(found)


def query(wanted: AuthQuery) -> str:
    """The text of PgBouncer's setting auth_query: one line, two columns. The cast leaves no choice of overload."""
    return f"SELECT username, password FROM {_function(wanted)}($1::{_TEXT})"


def audit_sql(wanted: AuthQuery) -> str:
    """One statement that returns one JSON document with everything that the functions below look at.

    The document holds the role's verifier only when login is "verifier".
    """
    return auth_audit.statement(wanted.role, wanted.schema, wanted.function, with_verifier=wanted.login == "verifier")


def with_verifier(wanted: AuthQuery, observed: Mapping[str, Any]) -> AuthQuery:
    """The same with the verifier that the role should have in the place of its password: one derivation for all."""
    if wanted.login == "certificate":
        return wanted
    have = observed["role"]
    return replace(wanted, secret=kept_verifier(wanted.secret, have and have["verifier"]))


def differences(wanted: AuthQuery, observed: Mapping[str, Any]) -> tuple[Difference, ...]:
    """Each guarded property that is not as it should be; what `repair_sql` changes, and nothing else."""
    return tuple(finding.difference for finding in _findings(wanted, observed))


def repair_sql(wanted: AuthQuery, observed: Mapping[str, Any]) -> str:
    """One transaction that ends every difference, or an empty text when there is none.

    Only the properties that differ are touched. A new role gets LOGIN as the very last thing. What appeared since the
    audit makes it fail as a whole: then audit again. psql needs `-v ON_ERROR_STOP=1`. With login "verifier" the text
    holds the role's verifier: show `sql.masked` of it. Raises InvalidError when the connection cannot change anything,
    or the role is one that must not be touched.
    """
    findings = _findings(wanted, observed)
    if not findings:
        return ""
    _refuse((*obstacles(observed), *_untouchable(wanted, observed)))
    steps = dict.fromkeys(step for finding in findings for step in finding.steps)
    ordered = [text for _order, text in sorted(steps, key=lambda step: step[0])]
    quiet = QUIET if wanted.login == "verifier" else ""
    return _transaction([*filter(None, [quiet]), *ordered])


def held(wanted: AuthQuery, observed: Mapping[str, Any]) -> tuple[str, ...]:
    """What the role has beyond what a repair gives it, each told with a remedy: it is not taken away from here."""
    remedy = "nothing here has given it that; take it away from the role"
    return tuple(f"role {wanted.role} also holds {what}: {remedy}" for what in observed["held"])


def removal_sql(wanted: AuthQuery, observed: Mapping[str, Any]) -> str:
    """One transaction that drops the function, the schema (when ours and otherwise empty) and the role.

    Empty when there is none of them. Raises InvalidError as `repair_sql` does, and when the role holds more than a
    repair gives it: that would be lost, or keep the role from being dropped.
    """
    place, role, schema = f"role {wanted.role}", identifier(wanted.role), identifier(wanted.schema)
    steps = [f"DROP ROUTINE {_function(wanted)}({', '.join(function['types'])});" for function in observed["functions"]]
    if observed["schema"] is not None:
        if observed["schema"]["owner"] in (observed["owner"], wanted.role) and not observed["schema"]["others"]:
            steps.append(f"DROP SCHEMA {schema};")
        elif observed["schema"]["owner"] == wanted.role:
            steps.append(f"ALTER SCHEMA {schema} OWNER TO {identifier(observed['owner'])};")
        elif observed["role"] is not None:
            steps.append(f"REVOKE ALL ON SCHEMA {schema} FROM {role} CASCADE;")
    if observed["role"] is not None:
        if any(item["grantee"] == wanted.role for item in observed["rights"]):
            steps.append(f"REVOKE ALL ON DATABASE {identifier(observed['database'])} FROM {role} CASCADE;")
        steps.append(f"DROP ROLE {role};")
    if not steps:
        return ""
    _refuse((*obstacles(observed), *_untouchable(wanted, observed)))
    _refuse(Problem(place, f"still holds {held}", "take it away from the role first") for held in observed["held"])
    return _transaction(steps)


class _Phase(IntEnum):
    """The order of a repair: rights are taken before any are given, and LOGIN comes last."""

    ROLE = 1
    SCHEMA = 2
    DROP = 3
    CREATE = 4
    OWNER = 5
    REVOKE = 6
    GRANT = 7
    LOGIN = 8


_Step = tuple[_Phase, str]


@dataclass(frozen=True)
class _Finding:
    difference: Difference
    steps: tuple[_Step, ...]


def _findings(wanted: AuthQuery, observed: Mapping[str, Any]) -> list[_Finding]:
    return [
        *_role_findings(wanted, observed),
        *_membership_findings(wanted, observed),
        *_connect_findings(wanted, observed),
        *_schema_findings(wanted, observed),
        *_function_findings(wanted, observed),
    ]


def _role_findings(wanted: AuthQuery, observed: Mapping[str, Any]) -> Iterable[_Finding]:
    what, role, have = f"role {wanted.role}", identifier(wanted.role), observed["role"]
    secret, shown = _password(wanted, have)
    login = (_Phase.LOGIN, f"ALTER ROLE {role} LOGIN;")
    if have is None:
        refused = " ".join(f"NO{word}" for word in _ATTRIBUTES.values())
        create = (_Phase.ROLE, f"CREATE ROLE {role} NOLOGIN {refused} PASSWORD {secret};")
        yield _finding(what, "missing", "present", create, login)
        return
    for attribute, word in _ATTRIBUTES.items():
        if have[attribute]:
            yield _finding(f"{what}: {attribute}", "yes", "no", (_Phase.ROLE, f"ALTER ROLE {role} NO{word};"))
    if have["connection_limit"] != -1:
        step = (_Phase.ROLE, f"ALTER ROLE {role} CONNECTION LIMIT -1;")
        yield _finding(f"{what}: connection limit", str(have["connection_limit"]), "none", step)
    if have["valid_until"] not in (None, "infinity"):
        step = (_Phase.ROLE, f"ALTER ROLE {role} VALID UNTIL 'infinity';")
        yield _finding(f"{what}: valid until", have["valid_until"], "forever", step)
    if shown:
        yield _finding(f"{what}: password", *shown, (_Phase.ROLE, f"ALTER ROLE {role} PASSWORD {secret};"))
    for setting in observed["settings"]:
        scope = "" if setting["database"] is None else f" IN DATABASE {identifier(setting['database'])}"
        where = "" if setting["database"] is None else f" in database {setting['database']}"
        step = (_Phase.ROLE, f"ALTER ROLE {role}{scope} RESET ALL;")
        yield _finding(f"{what}: setting{where}", setting["setting"], "none", step)
    if not have["login"]:
        yield _finding(f"{what}: login", "no", "yes", login)


def _membership_findings(wanted: AuthQuery, observed: Mapping[str, Any]) -> Iterable[_Finding]:
    """Of nothing a member, so that it inherits nothing; and no members, who could call the function as it."""
    for key, what, group_is_ours in (("member_of", "member of", False), ("members", "has the member", True)):
        for membership in observed[key]:
            group, member = (wanted.role, membership["role"]) if group_is_ours else (membership["role"], wanted.role)
            # From 16 on a membership belongs to its grantor, and only a grant of one's own is revoked otherwise.
            by = f" GRANTED BY {identifier(membership['grantor'])}" if observed["server_version"] >= 160000 else ""
            step = (_Phase.ROLE, f"REVOKE {identifier(group)} FROM {identifier(member)}{by} CASCADE;")
            yield _finding(f"role {wanted.role}: {what}", membership["role"], "nobody", step)


def _connect_findings(wanted: AuthQuery, observed: Mapping[str, Any]) -> Iterable[_Finding]:
    """The role may connect, by a right of its own or of everybody, and has no other right on the database itself."""
    what, place = f"database {observed['database']}", f"DATABASE {identifier(observed['database'])}"
    own = [item for item in observed["rights"] if item["grantee"] == wanted.role]
    everybody = any((item["grantee"], item["privilege"]) == (None, "CONNECT") for item in observed["rights"])
    yield from _grant_findings(what, place, "CONNECT", wanted.role, own, given=everybody)


def _schema_findings(wanted: AuthQuery, observed: Mapping[str, Any]) -> Iterable[_Finding]:
    what, schema = f"schema {wanted.schema}", identifier(wanted.schema)
    have, owner = observed["schema"], observed["owner"]
    place = f"SCHEMA {schema}"
    if have is None:
        created = (_Phase.SCHEMA, f"CREATE SCHEMA {schema} AUTHORIZATION {identifier(owner)};")
        rights = _fresh_rights(place, "USAGE", "n", wanted, observed)
        yield _finding(what, "missing", "present", created, *rights)
        return
    if have["owner"] != owner:
        step = (_Phase.SCHEMA, f"ALTER SCHEMA {schema} OWNER TO {identifier(owner)};")
        yield _finding(f"{what}: owner", have["owner"], owner, step)
    yield from _grant_findings(what, place, "USAGE", wanted.role, _others(have, owner))


def _function_findings(wanted: AuthQuery, observed: Mapping[str, Any]) -> Iterable[_Finding]:
    what, owner = f"function {wanted.schema}.{wanted.function}", observed["owner"]
    place = f"FUNCTION {_function(wanted)}({_TEXT})"
    for stray in observed["functions"]:
        if stray["types"] != [_TEXT]:
            types = ", ".join(stray["types"])
            step = (_Phase.DROP, f"DROP ROUTINE {_function(wanted)}({types});")
            yield _finding(f"{what}: overload", f"({types})", "none", step)
    have = _ours(observed)
    reshaped = have is None or any(have[key] != value for key, _name, value in _SHAPE)
    # Never OR REPLACE for a function that is not there: what somebody else may have made meanwhile must not be kept.
    body = _body(wanted, have)
    create = (_Phase.CREATE, _definition(wanted, body, "CREATE" if reshaped else "CREATE OR REPLACE"))
    owned = (_Phase.OWNER, f"ALTER {place} OWNER TO {identifier(owner)};")
    rights = _fresh_rights(place, "EXECUTE", "f", wanted, observed)
    if have is None:
        yield _finding(what, "missing", "present", create, owned, *rights)
        return
    for key, name, value in _SHAPE:
        if have[key] != value:
            # What CREATE OR REPLACE refuses to change: the routine is made anew, and its rights with it.
            drop = (_Phase.DROP, f"DROP ROUTINE {_function(wanted)}({_TEXT});")
            yield _finding(f"{what}: {name}", _shown(have[key]), _shown(value), drop, create, owned, *rights)
    for key, name, value in (*_PROPERTIES, ("body", "body", body)):
        if have[key] != value:
            shown = ("another", "ours") if key == "body" else (_shown(have[key]), _shown(value))
            yield _finding(f"{what}: {name}", *shown, create)
    if have["owner"] != owner:
        yield _finding(f"{what}: owner", have["owner"], owner, owned)
    yield from _grant_findings(what, place, "EXECUTE", wanted.role, _others(have, owner))


_SHAPE: tuple[tuple[str, str, Any], ...] = (
    ("kind", "kind", "f"),
    ("arguments", "argument types", [_TEXT] * 3),
    ("names", "argument names", ["user_name", "username", "password"]),
    ("modes", "argument modes", ["i", "t", "t"]),
    ("defaults", "arguments with a default", 0),
    ("set", "returns a set", True),
    ("returns", "result", ["pg_catalog.record"]),
)

_PROPERTIES: tuple[tuple[str, str, Any], ...] = (
    ("language", "language", "sql"),
    ("volatility", "volatility", "s"),
    ("strict", "strict", True),
    ("security_definer", "security definer", True),
    ("leakproof", "leakproof", False),
    ("parallel", "parallel", "u"),
    ("settings", "settings", ["search_path=pg_catalog, pg_temp"]),
)


def _definition(wanted: AuthQuery, body: str, create: str) -> str:
    return (
        f"{create} FUNCTION {_function(wanted)}(IN user_name {_TEXT})\n"
        f"RETURNS TABLE (username {_TEXT}, password {_TEXT})\n"
        "LANGUAGE sql STABLE STRICT SECURITY DEFINER PARALLEL UNSAFE\n"
        f"SET search_path = pg_catalog, pg_temp\nAS {dollar(body, 'get_auth')};"
    )


def _body(wanted: AuthQuery, have: Mapping[str, Any] | None) -> str:
    found = _SEED.search(have["body"]) if have else None
    seed = found[1] if found else wanted.seed
    conditions = [
        f"r.rolname {_EQ} $1",
        f"r.rolname {_NE} {literal(wanted.role)}",
        "r.rolcanlogin",
        "r.rolpassword IS NOT NULL",
        "(r.rolvaliduntil IS NULL OR r.rolvaliduntil OPERATOR(pg_catalog.>=) pg_catalog.now())",
        *([] if wanted.superusers else ["NOT r.rolsuper"]),
        *([] if wanted.replication else ["NOT r.rolreplication"]),
    ]
    return (
        f"\nSELECT COALESCE(r.rolname::{_TEXT}, '{STRANGER}'), COALESCE(r.rolpassword, d.verifier)\n"
        f"FROM (SELECT {_decoy(seed)} AS verifier OFFSET 0) AS d\nLEFT JOIN pg_catalog.pg_authid AS r ON "
        + "\n  AND ".join(conditions)
        + "\n"
    )


def _decoy(seed: str) -> str:
    """A verifier as PostgreSQL would make it, which depends on the name that is asked for ($1)."""

    def drawn(part: str, size: int) -> str:
        text = f"pg_catalog.concat('seed:{seed}', '{part}', $1)"
        digest = f"pg_catalog.sha256(pg_catalog.convert_to({text}, 'UTF8'))"
        return f"pg_catalog.encode(pg_catalog.substr({digest}, 1, {size}), 'base64')"

    iterations = "COALESCE(pg_catalog.current_setting('scram_iterations', true), '4096')"
    salt, stored, server = drawn("salt", 16), drawn("stored key", 32), drawn("server key", 32)
    parts = f"{iterations},\n  {salt},\n  {stored},\n  {server}"
    return f"pg_catalog.format('SCRAM-SHA-256$%s:%s$%s:%s',\n  {parts})"


def _fresh_rights(
    place: str, privilege: str, kind: str, wanted: AuthQuery, observed: Mapping[str, Any]
) -> tuple[_Step, ...]:
    """Rights of an object just made, whatever ALTER DEFAULT PRIVILEGES gave it."""
    extra = [grant["grantee"] for grant in observed["default_grants"] if grant["kind"] == kind]
    grantees = [_PUBLIC, *(identifier(grantee) for grantee in extra if grantee != observed["owner"])]
    return (
        *((_Phase.REVOKE, f"REVOKE ALL ON {place} FROM {grantee} CASCADE;") for grantee in dict.fromkeys(grantees)),
        (_Phase.GRANT, f"GRANT {privilege} ON {place} TO {identifier(wanted.role)};"),
    )


def _others(have: Mapping[str, Any], owner: str) -> list[Mapping[str, Any]]:
    """The grants of all but the owner, who keeps what owners have; a former owner's rights go over to the new one."""
    return [item for item in have["grants"] if item["grantee"] not in (owner, have["owner"])]


def _grant_findings(
    what: str, place: str, privilege: str, role: str, grants: Iterable[Mapping[str, Any]], *, given: bool = False
) -> Iterable[_Finding]:
    """`role` has just `privilege`, if not `given` some other way, and nobody else has anything."""
    grant = (_Phase.GRANT, f"GRANT {privilege} ON {place} TO {identifier(role)};")
    for item in grants:
        grantee, kind = item["grantee"], item["privilege"]
        name = _PUBLIC if grantee is None else identifier(grantee)
        shown = f"{what}: {kind} for {_PUBLIC if grantee is None else grantee}"
        if (grantee, kind) != (role, privilege):
            yield _finding(shown, "granted", "none", (_Phase.REVOKE, f"REVOKE {kind} ON {place} FROM {name} CASCADE;"))
        elif item["grantable"]:
            step = (_Phase.REVOKE, f"REVOKE GRANT OPTION FOR {kind} ON {place} FROM {name} CASCADE;")
            yield _finding(shown, "granted with grant option", "granted", step)
            given = True
        else:
            given = True
    if not given:
        yield _finding(f"{what}: {privilege} for {role}", "missing", "granted", grant)


def _password(wanted: AuthQuery, have: Mapping[str, Any] | None) -> tuple[str, tuple[str, str] | None]:
    """The password of the role as SQL, and (have, want) for people when it differs."""
    if wanted.login == "certificate":
        return "NULL", ("set", "none") if have is not None and have["has_password"] else None
    observed = None if have is None else have["verifier"]
    verifier = kept_verifier(wanted.secret, observed)
    return literal(verifier), None if verifier == observed else ("another" if observed else "none", "the given one")


def _problems(wanted: AuthQuery) -> Iterable[Problem]:
    for key, name in (("role", wanted.role), ("schema", wanted.schema), ("function", wanted.function)):
        place = f"auth_query.{key}"
        try:
            identifier(name)
        except PoolerError as error:
            yield Problem(place, str(error))
        if re.search(r"[\x00-\x1f\x7f\x85\u2028\u2029]", name):
            remedy = "PgBouncer's setting auth_query is one line: take it out"
            yield Problem(place, f"{name!r} holds a control character", remedy)
    if wanted.schema.startswith("pg_") or wanted.schema in ("public", "information_schema"):
        what = f"the schema {wanted.schema!r} is shared, and ours is closed to everybody else"
        yield Problem("auth_query.schema", what, "name a schema of its own, such as pgbouncer")
    if wanted.role.startswith("pg_") or wanted.role in ("public", "none"):
        what = f"the name {wanted.role!r} is PostgreSQL's own"
        yield Problem("auth_query.role", what, "choose another, such as pgbouncer")
    if wanted.login == "verifier" and not wanted.secret:
        yield Problem("auth_query.secret", "is missing", "give the role's password or verifier, or use certificate")
    if wanted.login == "certificate" and wanted.secret:
        yield Problem("auth_query.secret", "is given, but the role logs in by certificate", "leave one of them out")
    if "\0" in wanted.secret:
        yield Problem("auth_query.secret", "holds a NUL character", "choose another password")


def _untouchable(wanted: AuthQuery, observed: Mapping[str, Any]) -> Iterable[Problem]:
    if wanted.role in (observed["owner"], observed["user"]):
        what = "is the superuser that runs the cluster or this connection, and would be turned into an ordinary role"
        yield Problem(f"role {wanted.role}", what, "give PgBouncer a role of its own, such as pgbouncer")


def _ours(observed: Mapping[str, Any]) -> Mapping[str, Any] | None:
    return next((function for function in observed["functions"] if function["types"] == [_TEXT]), None)


def _function(wanted: AuthQuery) -> str:
    return f"{identifier(wanted.schema)}.{identifier(wanted.function)}"


def _finding(what: str, have: str, want: str, *steps: _Step) -> _Finding:
    return _Finding(Difference(what, have, want), steps)


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return "; ".join(str(item) for item in value) or "none"
    return _LETTERS.get(str(value), str(value))


_LETTERS = {
    "f": "function", "p": "procedure", "a": "aggregate", "w": "window function",
    "i": "immutable", "s": "stable", "v": "volatile", "u": "unsafe", "r": "restricted",
}  # fmt: skip


def _transaction(steps: Iterable[str]) -> str:
    head = ("BEGIN;", "SET LOCAL search_path = pg_catalog, pg_temp;", CALM)
    return "\n".join((*head, *steps, "COMMIT;"))


def _refuse(problems: Iterable[Problem]) -> None:
    if found := tuple(problems):
        raise InvalidError(found)
