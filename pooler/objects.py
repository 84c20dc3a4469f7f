"""Login roles and databases in the cluster, for those who have none yet: audit, differences, statements, removal.

Nothing here talks to a server: `audit_sql` is run by the caller (as a superuser, on the leader), and its one JSON
document comes back as `observed`. It holds verifiers, so it is as secret as pg_authid. No statement ever holds a
plaintext password: passwords become SCRAM verifiers here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from . import derivations, scram
from .errors import InvalidError, Problem
from .sql import identifier, literal

OLDEST_SERVER = 14
"""The oldest PostgreSQL major whose catalogs and grammar the statements are written for."""

CALM = "SET LOCAL lock_timeout = '5s';\nSET LOCAL statement_timeout = '30s';\nSET LOCAL synchronous_commit = local;"
"""Bounds for a transaction: neither a lock nor a standby that is away may hang the play. What a failover could lose
of a local commit, the next audit finds."""

QUIET = (
    "SET LOCAL log_statement = 'none';\nSET LOCAL log_min_duration_statement = -1;\n"
    "SET LOCAL log_min_duration_sample = -1;\nSET LOCAL log_min_error_statement = panic;\n"
    "SET LOCAL pg_stat_statements.track_utility = off;"
)
"""Keeps statements with verifiers out of the server's log and out of pg_stat_statements, which Spilo preloads."""

_EQ = "OPERATOR(pg_catalog.=)"
_MAINTENANCE = ("postgres", "template0", "template1")


@dataclass(frozen=True)
class Role:
    """An ordinary role. `secret` is its password or a ready SCRAM-SHA-256 verifier; one that may not log in has none.

    `acts_as`: its sessions are sessions of that role, so that what they make belongs to it. What logs in may then
    change while what owns stays. `member_of`: roles whose rights it has. A login without a secret has no password:
    it logs in by certificate.

    Raises PoolerError for a name that PostgreSQL would cut or cannot hold.
    """

    name: str
    secret: str = field(default="", repr=False)
    login: bool = True
    acts_as: str = ""
    member_of: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in (self.name, *filter(None, (self.acts_as,)), *self.member_of):
            identifier(name)


@dataclass(frozen=True)
class DatabaseObject:
    """A database and the role that owns it. Raises PoolerError as Role does."""

    name: str
    owner: str

    def __post_init__(self) -> None:
        identifier(self.name)
        identifier(self.owner)


@dataclass(frozen=True)
class Difference:
    """One property that is not as it should be, in words for people: never a secret."""

    what: str
    have: str
    want: str

    def __str__(self) -> str:
        return f"{self.what}: {self.have}, should be {self.want}"


def kept_verifier(secret: str, observed: str | None) -> str:
    """The verifier that a role with `secret` should have: the observed one as long as it verifies the password.

    A kept verifier keeps salt and keys, so sessions and poolers that pass SCRAM keys through go on working.
    """
    if scram.is_verifier(secret):
        return secret
    if observed and scram.is_verifier(observed) and scram.verifies(observed, secret):
        return observed
    return scram.verifier(secret)


def with_verifiers(
    roles: Sequence[Role], observed: Mapping[str, Any], tell: derivations.Tell = derivations.silent
) -> tuple[Role, ...]:
    """The roles with the verifiers that they should have in the place of their passwords, all derived at once.

    One whose observed verifier still fits costs one derivation. What is asked of the outcome then costs none.
    """
    known = {have["name"]: have["verifier"] for have in observed["roles"] if have["verifier"]}
    passwords = {role.name: role.secret for role in roles if role.secret and not scram.is_verifier(role.secret)}
    made = derivations.verifiers(passwords, (known,), tell)
    return tuple(replace(role, secret=made.get(role.name, role.secret)) for role in roles)


def obstacles(observed: Mapping[str, Any]) -> tuple[Problem, ...]:
    """Why nothing can be changed over the connection that was audited; empty when all is well."""
    place = f"database {observed['database']}"
    found = []
    if observed["in_recovery"]:
        found.append(Problem(place, "the server is in recovery, so it takes no changes", "ask Patroni for the leader"))
    elif observed["read_only"]:
        remedy = "set default_transaction_read_only to off, or find out who set it and why"
        found.append(Problem(place, "transactions are read-only here", remedy))
    if not observed["superuser"]:
        what = f"role {observed['user']!r} is no superuser, and only a superuser may read and guard pg_authid"
        found.append(Problem(place, what, "connect as one, for example postgres"))
    if observed["server_version"] < OLDEST_SERVER * 10000:
        version = observed["server_version"] // 10000
        found.append(Problem(place, f"PostgreSQL {version} is too old", f"{OLDEST_SERVER} or later is needed"))
    return tuple(found)


def audit_sql(roles: Sequence[Role], databases: Sequence[DatabaseObject]) -> str:
    """One statement that returns one JSON document: the server, and what it has of `roles` and `databases`.

    Every name and operator is qualified: it is run as a superuser, maybe in a database where others own schemas.
    """
    asked = [role.name for role in roles] + [role.acts_as for role in roles if role.acts_as]
    names = _texts(_unique(asked + [database.owner for database in databases]))
    return f"""SELECT pg_catalog.jsonb_build_object(
{SERVER},
'roles', (SELECT COALESCE(pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object(
    'name', r.rolname, 'login', r.rolcanlogin, 'superuser', r.rolsuper, 'replication', r.rolreplication,
    'verifier', r.rolpassword,
    'acts_as', (SELECT pg_catalog.substr(c.setting, 6) FROM pg_catalog.pg_db_role_setting AS s
      CROSS JOIN LATERAL pg_catalog.unnest(s.setconfig) AS c(setting)
      WHERE s.setrole {_EQ} r.oid AND s.setdatabase {_EQ} 0::pg_catalog.oid
        AND pg_catalog.starts_with(c.setting, 'role=')),
    'member_of', (SELECT COALESCE(pg_catalog.jsonb_agg(g.rolname ORDER BY g.rolname), '[]')
      FROM pg_catalog.pg_auth_members AS m JOIN pg_catalog.pg_authid AS g ON g.oid {_EQ} m.roleid
      WHERE m.member {_EQ} r.oid)) ORDER BY r.rolname), '[]')
  FROM pg_catalog.pg_authid AS r WHERE r.rolname OPERATOR(pg_catalog.=) ANY ({names})),
'databases', (SELECT COALESCE(pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object(
    'name', d.datname, 'owner', pg_catalog.pg_get_userbyid(d.datdba)) ORDER BY d.datname), '[]')
  FROM pg_catalog.pg_database AS d
  WHERE d.datname OPERATOR(pg_catalog.=) ANY ({_texts(_unique(d.name for d in databases))})))"""


def differences(
    roles: Sequence[Role], databases: Sequence[DatabaseObject], observed: Mapping[str, Any]
) -> tuple[Difference, ...]:
    """What `statements` would change. Raises InvalidError when a name stands for what is not ours to change."""
    _check(roles, databases, observed)
    found = [difference for difference, _statement in _roles_findings(roles, observed)]
    found += [difference for database in databases for difference, _statement in _database_findings(database, observed)]
    return tuple(found)


def statements(
    roles: Sequence[Role], databases: Sequence[DatabaseObject], observed: Mapping[str, Any]
) -> tuple[str, ...]:
    """What brings roles and databases about: each text is run by itself and in this order, outside a transaction.

    The roles are one transaction; CREATE DATABASE cannot be part of one. Raises InvalidError as `differences` does, and
    for the obstacles of the connection.
    """
    _refuse(obstacles(observed))
    _check(roles, databases, observed)
    of_roles = tuple(statement for _difference, statement in _roles_findings(roles, observed))
    of_databases = tuple(
        statement for database in databases for _difference, statement in _database_findings(database, observed)
    )
    return ((_transaction(of_roles, QUIET),) if of_roles else ()) + of_databases


def removal(roles: Sequence[Role], databases: Sequence[DatabaseObject], observed: Mapping[str, Any]) -> tuple[str, ...]:
    """What takes databases, then roles away with all their data: each text is run by itself and in this order.

    A database with sessions in it and a role that owns something else are refused by the server, not forced. Raises
    InvalidError for a database of another owner, for superusers, and for the obstacles of the connection.
    """
    _refuse(obstacles(observed))
    _check(roles, databases, observed)
    _refuse(
        Problem(f"database {database.name}", f"belongs to {have!r}, not to {database.owner!r}", "remove it by hand")
        for database in databases
        if (have := _owner(database, observed)) not in (None, database.owner)
    )
    dropped = tuple(f"DROP DATABASE {identifier(d.name)};" for d in databases if _owner(d, observed) is not None)
    leaving = [f"DROP ROLE {identifier(role.name)};" for role in roles if _role(role.name, observed) is not None]
    return dropped + ((_transaction(leaving),) if leaving else ())


def verifiers_sql(names: Sequence[str]) -> str:
    """One statement that returns one JSON document: the server, and the SCRAM verifiers of roles that may log in."""
    return f"""SELECT pg_catalog.jsonb_build_object(
{SERVER},
'verifiers', (SELECT COALESCE(pg_catalog.jsonb_object_agg(r.rolname, r.rolpassword), '{{}}')
  FROM pg_catalog.pg_authid AS r
  WHERE r.rolname OPERATOR(pg_catalog.=) ANY ({_texts(names)}) AND r.rolcanlogin
    AND pg_catalog.starts_with(r.rolpassword, 'SCRAM-SHA-256$')))"""


SERVER = f"""'server_version', pg_catalog.current_setting('server_version_num')::pg_catalog.int4,
'in_recovery', pg_catalog.pg_is_in_recovery(),
'read_only', pg_catalog.current_setting('transaction_read_only')::pg_catalog.bool,
'database', pg_catalog.current_database(),
'user', CURRENT_USER,
'superuser', (SELECT u.rolsuper FROM pg_catalog.pg_roles AS u WHERE u.rolname {_EQ} CURRENT_USER)"""
"""What every audit says of the server and the connection."""


def _check(roles: Sequence[Role], databases: Sequence[DatabaseObject], observed: Mapping[str, Any]) -> None:
    found = []
    for role in roles:
        have = _role(role.name, observed)
        kinds = [kind for kind in ("superuser", "replication") if have is not None and have[kind]]
        if kinds:
            what = f"exists and is a {' and '.join(kinds)} role, which is not touched from here"
            found.append(Problem(f"role {role.name}", what, "choose another name"))
        if re.match(r"pg_|(public|none)\Z", role.name):
            found.append(Problem(f"role {role.name}", "the name is PostgreSQL's own", "choose another name"))
    known = {role.name for role in roles} | {have["name"] for have in observed["roles"]}
    for role in roles:
        have = _role(role.acts_as, observed)
        if role.acts_as and (role.acts_as not in known or role.acts_as == role.name):
            what = f"is to act as {role.acts_as!r}, which is no other role of the cluster and none that is asked for"
            found.append(Problem(f"role {role.name}", what, "name a role that exists, or ask for it too"))
        if have is not None and (have["superuser"] or have["replication"]):
            what = f"is to act as {role.acts_as!r}, which is a superuser or a replication role"
            found.append(Problem(f"role {role.name}", what, "name an ordinary role"))
    for database in databases:
        if database.name in _MAINTENANCE:
            what = "belongs to PostgreSQL itself, so it is neither made nor given away nor dropped"
            found.append(Problem(f"database {database.name}", what, "leave it out"))
        if database.owner not in known and _owner(database, observed) != database.owner:
            what = f"the owner {database.owner!r} is no role of the cluster and none that is asked for"
            found.append(Problem(f"database {database.name}", what, "name a role that exists, or ask for it too"))
    for kind, names in (("role", [r.name for r in roles]), ("database", [d.name for d in databases])):
        twice = _unique(name for name in names if names.count(name) > 1)
        found += [Problem(f"{kind} {name}", "is asked for twice", "keep one of them") for name in twice]
    _refuse(found)


def _roles_findings(roles: Sequence[Role], observed: Mapping[str, Any]) -> list[tuple[Difference, str]]:
    """Every role is there before one acts as it."""
    found = [finding for role in roles for finding in _role_findings(role, observed)]
    for role in roles:
        found += [finding for group in role.member_of for finding in _member_findings(role, group, observed)]
    return found + [finding for role in roles if role.acts_as for finding in _acting_findings(role, observed)]


def _role_findings(role: Role, observed: Mapping[str, Any]) -> list[tuple[Difference, str]]:
    what, name, have = f"role {role.name}", identifier(role.name), _role(role.name, observed)
    if not role.login:
        return _no_login_findings(what, name, have)
    password = kept_verifier(role.secret, None if have is None else have["verifier"]) if role.secret else None
    phrase = f"PASSWORD {'NULL' if password is None else literal(password)}"
    if have is None:
        return [(Difference(what, "missing", "present"), f"CREATE ROLE {name} LOGIN {phrase};")]
    found = []
    if not have["login"]:
        found.append((Difference(f"{what}: login", "no", "yes"), f"ALTER ROLE {name} LOGIN;"))
    if have["verifier"] != password:
        wanted = "none" if password is None else "the given one"
        difference = Difference(f"{what}: password", "another" if have["verifier"] else "none", wanted)
        found.append((difference, f"ALTER ROLE {name} {phrase};"))
    return found


def _no_login_findings(what: str, name: str, have: Mapping[str, Any] | None) -> list[tuple[Difference, str]]:
    if have is None:
        return [(Difference(what, "missing", "present"), f"CREATE ROLE {name} NOLOGIN;")]
    found = []
    if have["login"]:
        found.append((Difference(f"{what}: login", "yes", "no"), f"ALTER ROLE {name} NOLOGIN;"))
    if have["verifier"] is not None:
        found.append((Difference(f"{what}: password", "set", "none"), f"ALTER ROLE {name} PASSWORD NULL;"))
    return found


def _acting_findings(role: Role, observed: Mapping[str, Any]) -> list[tuple[Difference, str]]:
    have = _role(role.name, observed) or {"member_of": [], "acts_as": None}
    name = identifier(role.name)
    found = [] if role.acts_as in role.member_of else _member_findings(role, role.acts_as, observed)
    if have["acts_as"] != role.acts_as:
        difference = Difference(f"role {role.name}: acts as", have["acts_as"] or "itself", role.acts_as)
        found.append((difference, f"ALTER ROLE {name} SET role = {literal(role.acts_as)};"))
    return found


def _member_findings(role: Role, group: str, observed: Mapping[str, Any]) -> list[tuple[Difference, str]]:
    have = _role(role.name, observed)
    if have is not None and group in have["member_of"]:
        return []
    missing = Difference(f"role {role.name}: member of {group}", "no", "yes")
    return [(missing, f"GRANT {identifier(group)} TO {identifier(role.name)};")]


def _database_findings(database: DatabaseObject, observed: Mapping[str, Any]) -> list[tuple[Difference, str]]:
    what, have = f"database {database.name}", _owner(database, observed)
    name, owner = identifier(database.name), identifier(database.owner)
    if have is None:
        return [(Difference(what, "missing", "present"), f"CREATE DATABASE {name} OWNER {owner};")]
    if have != database.owner:
        return [(Difference(f"{what}: owner", have, database.owner), f"ALTER DATABASE {name} OWNER TO {owner};")]
    return []


def _role(name: str, observed: Mapping[str, Any]) -> Mapping[str, Any] | None:
    return next((have for have in observed["roles"] if have["name"] == name), None)


def _owner(database: DatabaseObject, observed: Mapping[str, Any]) -> str | None:
    return next((have["owner"] for have in observed["databases"] if have["name"] == database.name), None)


def _transaction(statements: Iterable[str], settings: str = "") -> str:
    return "\n".join(filter(None, ("BEGIN;", CALM, settings, *statements, "COMMIT;")))


def _texts(names: Iterable[str]) -> str:
    return f"ARRAY[{', '.join(literal(name) for name in names)}]::pg_catalog.name[]"


def _unique(texts: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(texts))


def _refuse(problems: Iterable[Problem]) -> None:
    if found := tuple(problems):
        raise InvalidError(found)
