"""Login roles and databases without a server: what is made, kept, refused and removed."""

from __future__ import annotations

import secrets
from typing import Any

import pytest

from pooler import scram
from pooler.errors import InvalidError, PoolerError
from pooler.objects import DatabaseObject, Role, audit_sql, differences, kept_verifier, removal, statements

PASSWORD = secrets.token_urlsafe()
ROLES = (Role("app", PASSWORD),)
DATABASES = (DatabaseObject("shop", "app"),)


def bare(**change: Any) -> dict[str, Any]:
    return {
        "server_version": 170006,
        "in_recovery": False,
        "read_only": False,
        "database": "postgres",
        "user": "postgres",
        "superuser": True,
        "roles": [],
        "databases": [],
    } | change


def there(**change: Any) -> dict[str, Any]:
    role = {
        "name": "app",
        "login": True,
        "superuser": False,
        "replication": False,
        "verifier": scram.verifier(PASSWORD),
        "acts_as": None,
        "member_of": [],
    }
    return bare(roles=[role | change], databases=[{"name": "shop", "owner": "app"}])


def test_a_bare_cluster_gets_roles_in_one_transaction_and_then_databases() -> None:
    roles, database = statements(ROLES, DATABASES, bare())
    assert roles.startswith("BEGIN;")
    assert roles.endswith("COMMIT;")
    (line,) = (line for line in roles.splitlines() if line.startswith("CREATE ROLE"))
    assert line.startswith('CREATE ROLE "app" LOGIN PASSWORD \'SCRAM-SHA-256$')
    assert scram.verifies(line.split("'")[1], PASSWORD)
    assert database == 'CREATE DATABASE "shop" OWNER "app";'


def test_no_statement_or_difference_or_repr_holds_a_password() -> None:
    observed = there(verifier=scram.verifier("another"))
    shown = [*statements(ROLES, DATABASES, observed), *map(str, differences(ROLES, DATABASES, observed)), repr(ROLES)]
    assert len(shown) == 3
    assert not any(PASSWORD in text for text in [*shown, audit_sql(ROLES, DATABASES)])


def test_nothing_is_done_when_all_is_there_and_the_verifier_still_verifies() -> None:
    assert differences(ROLES, DATABASES, there()) == ()
    assert statements(ROLES, DATABASES, there()) == ()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"login": False}, "role app: login: no, should be yes"),
        ({"verifier": None}, "role app: password: none, should be the given one"),
        ({"verifier": "md5" + "0" * 32}, "role app: password: another, should be the given one"),
        ({"verifier": scram.verifier("x")}, "role app: password: another, should be the given one"),
    ],
)
def test_one_difference_is_one_statement(change: dict[str, Any], told: str) -> None:
    assert [str(difference) for difference in differences(ROLES, DATABASES, there(**change))] == [told]
    (transaction,) = statements(ROLES, DATABASES, there(**change))
    assert sum(line.startswith("ALTER ROLE") for line in transaction.splitlines()) == 1


def test_another_owner_is_changed() -> None:
    observed = there() | {"databases": [{"name": "shop", "owner": "old"}]}
    assert statements(ROLES, DATABASES, observed) == ('ALTER DATABASE "shop" OWNER TO "app";',)


def test_a_verifier_given_ready_is_the_one_that_counts() -> None:
    first, second = scram.verifier(PASSWORD), scram.verifier(PASSWORD)
    assert kept_verifier(first, second) == first
    assert kept_verifier(PASSWORD, second) == second
    assert kept_verifier("md5" + "0" * 32, None).startswith("SCRAM-SHA-256$")


@pytest.mark.parametrize(
    ("roles", "databases", "observed", "told"),
    [
        (ROLES, (), there(superuser=True), "is a superuser role"),
        (ROLES, (), there(replication=True), "is a replication role"),
        ((Role("pg_monitor", "x"),), (), bare(), "PostgreSQL's own"),
        ((), (DatabaseObject("postgres", "app"),), there(), "belongs to PostgreSQL itself"),
        ((), (DatabaseObject("template1", "app"),), there(), "belongs to PostgreSQL itself"),
        ((), (DatabaseObject("shop", "ghost"),), bare(), "the owner 'ghost' is no role"),
        ((*ROLES, *ROLES), (), bare(), "is asked for twice"),
        (ROLES, DATABASES, bare(in_recovery=True), "in recovery"),
        (ROLES, DATABASES, bare(superuser=False), "no superuser"),
    ],
)
def test_what_must_not_be_touched_is_refused(
    roles: tuple[Role, ...], databases: tuple[DatabaseObject, ...], observed: dict[str, Any], told: str
) -> None:
    for change in (statements, removal):
        with pytest.raises(InvalidError, match=told):
            change(roles, databases, observed)


def test_a_name_that_postgresql_would_cut_is_refused_at_once() -> None:
    for make in (lambda: Role("x" * 64, "x"), lambda: DatabaseObject("x" * 64, "a"), lambda: DatabaseObject("a", "")):
        with pytest.raises(PoolerError):
            make()


def test_removal_drops_databases_before_their_owners_and_only_what_is_there() -> None:
    database, roles = removal(ROLES, DATABASES, there())
    assert database == 'DROP DATABASE "shop";'
    assert 'DROP ROLE "app";' in roles.splitlines()
    assert removal((), (), there()) == ()
    assert removal(ROLES, (), bare()) == ()


def test_a_database_of_somebody_else_is_not_removed() -> None:
    observed = there() | {"databases": [{"name": "shop", "owner": "old"}]}
    with pytest.raises(InvalidError, match="belongs to 'old'"):
        removal(ROLES, DATABASES, observed)


# Logins by certificate

EXPORTER = Role("postgres_exporter", member_of=("pg_monitor",))


def test_a_login_by_certificate_has_no_password_and_the_rights_it_is_given() -> None:
    assert lines((EXPORTER,), bare()) == [
        'CREATE ROLE "postgres_exporter" LOGIN PASSWORD NULL;',
        'GRANT "pg_monitor" TO "postgres_exporter";',
    ]
    have = there(name="postgres_exporter", verifier=None, member_of=["pg_monitor"])
    assert lines((EXPORTER,), have) == []
    assert lines((EXPORTER,), there(name="postgres_exporter", member_of=["pg_monitor"])) == [
        'ALTER ROLE "postgres_exporter" PASSWORD NULL;'
    ]


def test_rights_that_a_role_has_besides_are_left_to_it() -> None:
    assert lines((Role("app", PASSWORD),), there(member_of=["pg_monitor"])) == []


# Logins that act as another role


OWNER, LOGIN = Role("app", login=False), Role("app_1", PASSWORD, acts_as="app")


def lines(roles: tuple[Role, ...], observed: dict[str, Any]) -> list[str]:
    found = statements(roles, (), observed)
    return [line for text in found for line in text.splitlines() if line.startswith(("CREATE", "ALTER", "GRANT"))]


def test_the_role_that_owns_is_there_before_a_login_acts_as_it() -> None:
    made, login, member, acts = lines((LOGIN, OWNER), bare())[:4]
    assert made.startswith('CREATE ROLE "app_1" LOGIN PASSWORD')
    assert login == 'CREATE ROLE "app" NOLOGIN;'
    assert member == 'GRANT "app" TO "app_1";'
    assert acts == "ALTER ROLE \"app_1\" SET role = 'app';"


def test_a_login_that_was_withdrawn_has_no_password_and_keeps_its_name() -> None:
    assert lines((OWNER,), there()) == ['ALTER ROLE "app" NOLOGIN;', 'ALTER ROLE "app" PASSWORD NULL;']
    assert lines((OWNER,), there(login=False, verifier=None)) == []


def test_only_what_lacks_of_acting_is_made_up_for() -> None:
    have = {**there()["roles"][0], "name": "app_1", "member_of": ["app"], "acts_as": "somebody"}
    observed = bare(roles=[have, there(login=False, verifier=None)["roles"][0]])
    assert lines((LOGIN, OWNER), observed) == ["ALTER ROLE \"app_1\" SET role = 'app';"]
    assert [str(each) for each in differences((LOGIN,), (), observed)] == [
        "role app_1: acts as: somebody, should be app"
    ]
    assert lines((LOGIN, OWNER), bare(roles=[have | {"acts_as": "app"}, observed["roles"][1]])) == []


@pytest.mark.parametrize(
    ("observed", "acts_as", "said"),
    [
        (bare(), "nobody", "no other role of the cluster"),
        (bare(), "app_1", "no other role"),
        (there(superuser=True), "app", "a superuser or a replication role"),
        (there(replication=True), "app", "a superuser or a replication role"),
    ],
)
def test_nobody_acts_as_a_role_that_is_not_there_or_may_everything(
    observed: dict[str, Any], acts_as: str, said: str
) -> None:
    with pytest.raises(InvalidError, match=said):
        statements((Role("app_1", PASSWORD, acts_as=acts_as),), (), observed)
