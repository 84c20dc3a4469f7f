"""The catalogue: values become the engine's texts, mistakes are named, versions and packages are told apart."""

from __future__ import annotations

import secrets
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pooler import settings
from pooler.errors import InvalidError

NEWEST = (1, 26, 1)


def wrong(section: str, name: str, value: object, version: tuple[int, ...] = NEWEST) -> str:
    """The one problem with a value."""
    text, problems = settings.check(section, name, value, place="here", version=version)
    assert text == ""
    (problem,) = problems
    assert problem.place == "here"
    return str(problem)


@pytest.mark.parametrize(
    ("section", "name", "value", "text"),
    [
        ("pgbouncer", "log_stats", True, "1"),
        ("pgbouncer", "log_stats", False, "0"),
        ("pgbouncer", "log_stats", "no", "0"),
        ("pgbouncer", "log_stats", 1, "1"),
        ("pgbouncer", "max_client_conn", 5000, "5000"),
        ("pgbouncer", "max_client_conn", "5000", "5000"),
        ("pgbouncer", "query_timeout", 30, "30"),
        ("pgbouncer", "query_timeout", 0.5, "0.5"),
        ("pgbouncer", "query_timeout", 2.0, "2"),
        ("pgbouncer", "query_timeout", 1e-5, "0.00001"),
        ("pgbouncer", "query_timeout", "1.25", "1.25"),
        ("pgbouncer", "pool_mode", "Transaction", "transaction"),
        ("pgbouncer", "admin_users", ["ops", "root"], "ops,root"),
        ("pgbouncer", "admin_users", [], ""),
        ("pgbouncer", "listen_addr", "*", "*"),
        ("pgbouncer", "ignore_startup_parameters", "extra_float_digits, options", "extra_float_digits, options"),
        ("pgbouncer", "client_tls_protocols", ["tlsv1.2", "TLSv1.3"], "tlsv1.2,TLSv1.3"),
        ("pgbouncer", "server_reset_query", "", ""),
        ("pgbouncer", "unix_socket_mode", "0770", "0770"),
        ("pgbouncer", "unix_socket_dir", "@abstract", "@abstract"),
        ("pgbouncer", "max_packet_size", 2**32 - 1, "4294967295"),
        ("databases", "host", ["db1", "db2"], "db1,db2"),
        ("databases", "port", 5432, "5432"),
        ("databases", "connect_query", "select 'a'", "select 'a'"),
        ("databases", "password", " p w ", " p w "),
        ("users", "pool_mode", "session", "session"),
        ("peers", "port", "6432", "6432"),
    ],
)
def test_value_becomes_the_engines_text(section: str, name: str, value: object, text: str) -> None:
    assert settings.check(section, name, value, place="here", version=NEWEST) == (text, [])


@pytest.mark.parametrize(
    ("section", "name", "value", "said"),
    [
        ("pgbouncer", "max_client_con", 5, "did you mean 'max_client_conn'?"),
        ("databases", "max_client_conn", 5, "[databases]"),
        ("databases", "listen_port", 5, "[pgbouncer]"),
        ("nowhere", "x", 5, "[nowhere] is not a section"),
        ("pgbouncer", "query_timeout", "1m", "write 60"),
        ("pgbouncer", "query_timeout", "500ms", "write 0.5"),
        ("pgbouncer", "query_timeout", "soon", "30 or 0.5"),
        ("pgbouncer", "query_timeout", -1, "-1"),
        ("pgbouncer", "query_timeout", float("nan"), "not a number"),
        ("pgbouncer", "query_timeout", True, "not a number of seconds"),
        ("pgbouncer", "query_timeout", 10**12, "out of range"),
        ("pgbouncer", "query_timeout", "0x10", "not a number"),
        ("databases", "server_lifetime", 1.5, "whole number of seconds"),
        ("databases", "pool_size", "abc", "'abc' is not a whole number"),
        ("databases", "pool_size", -1, "0 to 2147483647"),
        ("databases", "pool_size", "0100", "octal"),
        ("databases", "pool_size", 2**31, "0 to 2147483647"),
        ("databases", "pool_size", "9" * 5000, "out of range"),
        ("databases", "pool_size", "\u0663", "not a whole number"),
        ("databases", "pool_size", None, "leave pool_size out"),
        ("databases", "pool_size", {}, "of type dict"),
        ("databases", "pool_size", [1], "is a list"),
        ("databases", "port", 70000, "1 to 65535"),
        ("databases", "port", 0, "1 to 65535"),
        ("databases", "host", "", "is empty"),
        ("databases", "host", "a,,b", "empty item"),
        ("pgbouncer", "peer_id", 16384, "0 to 16383"),
        ("pgbouncer", "pool_mode", "'session'", "write session"),
        ("pgbouncer", "pool_mode", "sesion", "did you mean 'session'?"),
        ("pgbouncer", "pool_mode", "x", "one of session, transaction, statement"),
        ("pgbouncer", "pool_mode", 1, "one of session"),
        ("pgbouncer", "log_stats", 2, "true or false"),
        ("pgbouncer", "log_stats", "maybe", "true or false"),
        ("pgbouncer", "unix_socket_mode", 0o770, "in quotes"),
        ("pgbouncer", "unix_socket_mode", "770", "octal"),
        ("pgbouncer", "unix_socket_mode", "01777", "octal"),
        ("pgbouncer", "admin_users", ["a,b"], "'a,b'"),
        ("pgbouncer", "admin_users", ["a", ""], "''"),
        ("pgbouncer", "admin_users", ["a", None], "not a name"),
        ("pgbouncer", "client_tls_protocols", "tlsv1.2,tlsv13", "did you mean 'tlsv1.3'?"),
        ("pgbouncer", "logfile", "pgbouncer.log", "absolute"),
        ("pgbouncer", "auth_file", "", "leave auth_file out"),
        ("pgbouncer", "server_reset_query", "discard all ", "cuts off"),
        ("pgbouncer", "server_reset_query", "a\nb", "line break"),
        ("pgbouncer", "server_reset_query", "a\rb", "line break"),
        ("pgbouncer", "server_reset_query", "a\0b", "NUL"),
        ("pgbouncer", "syslog_facility", "mail", "daemon"),
        ("pgbouncer", "auth_dbname", "pgbouncer", "reserved"),
    ],
)
def test_mistake_is_named_with_its_remedy(section: str, name: str, value: object, said: str) -> None:
    assert said in wrong(section, name, value)


@pytest.mark.parametrize("value", ["{}\n", "{}\0", None])
def test_secret_is_not_shown(value: str | None) -> None:
    secret = secrets.token_urlsafe()

    said = wrong("databases", "password", value.format(secret) if value else [secret])

    assert secret not in said


def test_setting_newer_than_the_engine_is_refused() -> None:
    assert "needs PgBouncer 1.25.0" in wrong("pgbouncer", "transaction_timeout", 5, (1, 24, 1))
    assert settings.check("pgbouncer", "transaction_timeout", 5, place="x", version=(1, 25, 0)) == ("5", [])


def test_choice_newer_than_the_engine_is_refused() -> None:
    assert "needs PgBouncer 1.25.0" in wrong("pgbouncer", "auth_type", "ldap", (1, 24, 1))
    assert settings.check("pgbouncer", "auth_type", "ldap", place="x", version=(1, 25, 0)) == ("ldap", [])


@given(
    st.sampled_from([(section, name) for section in settings.SECTIONS for name in settings.known(section)]),
    st.one_of(
        st.booleans(), st.integers(), st.floats(), st.text(max_size=20), st.lists(st.text(max_size=5), max_size=3)
    ),
)
def test_what_is_checked_the_engine_takes(key: tuple[str, str], value: Any) -> None:
    section, name = key
    text, problems = settings.check(section, name, value, place="here", version=NEWEST)

    assert problems or settings.refused(section, name, text, NEWEST) is None


@given(st.text(max_size=6), st.text(max_size=12))
def test_unknown_names_are_refused_not_raised(section: str, name: str) -> None:
    assert settings.refused(section, name, "1") is not None or name in settings.known(section)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("listen_port", "abc"),
        ("listen_port", "08"),
        ("listen_port", "1 "),
        ("listen_port", ""),
        ("log_stats", "yes"),
        ("query_timeout", "1m"),
        ("query_timeout", "-1"),
        ("query_timeout", "1e999"),
        ("query_timeout", "-inf"),
        ("query_timeout", ""),
        ("pool_mode", "'session'"),
        ("pool_mode", ""),
        ("auth_dbname", "pgbouncer"),
        ("transaction_timeout", "1"),
        ("no_such_thing", "1"),
    ],
)
def test_engine_refuses(name: str, text: str) -> None:
    assert settings.refused("pgbouncer", name, text, (1, 24, 1)) is not None


@pytest.mark.parametrize(
    ("section", "name", "text"),
    [
        ("pgbouncer", "listen_port", "0x1F90"),
        ("pgbouncer", "listen_port", "-1"),
        ("pgbouncer", "listen_port", "99999999999"),
        ("pgbouncer", "log_stats", "7"),
        ("pgbouncer", "query_timeout", "1e2"),
        ("pgbouncer", "query_timeout", "-0"),
        ("pgbouncer", "query_timeout", "inf"),
        ("pgbouncer", "pool_mode", "SESSION"),
        ("pgbouncer", "syslog_facility", "nonsense"),
        ("databases", "pool_size", "abc"),
        ("databases", "port", "70000"),
    ],
)
def test_engine_takes_what_a_check_would_not(section: str, name: str, text: str) -> None:
    assert settings.refused(section, name, text, (1, 24, 1)) is None


@pytest.mark.parametrize(
    ("name", "wanted", "shown"),
    [
        ("log_stats", "1", "1"),
        ("log_stats", "yes", "1"),
        ("max_client_conn", "0100", "64"),
        ("max_client_conn", "0x10", "16"),
        ("max_client_conn", "99999999999", "1215752191"),
        ("max_packet_size", "4294967295", "4294967295"),
        ("unix_socket_mode", "0777", "511"),
        ("query_timeout", "2.0", "2"),
        ("query_timeout", "1e2", "100"),
        ("query_timeout", "0.0000001", "0"),
        ("query_timeout", "1234567", "1.23457e+06"),
        ("pool_mode", "Session", "session"),
        ("admin_users", "a, b", "a,b"),
        ("listen_addr", "a ,b", "a, b"),
        ("server_tls_protocols", "tlsv1.2,tlsv1.3", "tlsv1.2, tlsv1.3"),
        ("auth_user", "", None),
        ("server_check_query", "select 1", "select 1"),
    ],
)
def test_same_in_the_engines_words(name: str, wanted: str, shown: str | None) -> None:
    assert settings.same("pgbouncer", name, wanted, shown)


@pytest.mark.parametrize(
    ("name", "wanted", "shown"),
    [
        ("log_stats", "1", "0"),
        ("max_client_conn", "100", "64"),
        ("max_client_conn", "100", ""),
        ("unix_socket_mode", "0777", "777"),
        ("query_timeout", "2", "2.5"),
        ("query_timeout", "2", "x"),
        ("pool_mode", "session", "transaction"),
        ("admin_users", "a,b", "b,a"),
        ("auth_user", "a", None),
        ("server_check_query", "select 1", "SELECT 1"),
    ],
)
def test_different_in_the_engines_words(name: str, wanted: str, shown: str | None) -> None:
    assert not settings.same("pgbouncer", name, wanted, shown)


def test_get_names_the_nearest() -> None:
    assert settings.get("pgbouncer", "listen_port").reloadable is False
    with pytest.raises(InvalidError, match="did you mean 'listen_port'"):
        settings.get("pgbouncer", "listn_port")


def test_default_follows_the_version() -> None:
    query = settings.get("pgbouncer", "server_check_query")

    assert (query.default_for((1, 24, 1)), query.default_for((1, 25, 0))) == ("select 1", "<empty>")


@pytest.mark.parametrize(
    ("version", "package", "is_open", "is_closed"),
    [
        ((1, 18, 0), None, {"CVE-2025-2291", "CVE-2025-12819", "CVE-2026-6664"}, {"CVE-2021-3935"}),
        ((1, 18, 0), "1.18.0-1+deb12u1", {"CVE-2026-6664"}, {"CVE-2025-2291", "CVE-2025-12819"}),
        ((1, 24, 1), "1.24.1-1", {"CVE-2025-12819", "CVE-2026-6667"}, {"CVE-2025-2291"}),
        ((1, 24, 1), "1.24.1-1+deb13u1", {"CVE-2026-6664"}, {"CVE-2025-12819"}),
        ((1, 24, 1), "1.24.1-1+deb13u2", {"CVE-2026-107349", "CVE-2026-107350"}, {"CVE-2025-12819", "CVE-2026-6664"}),
        ((1, 24, 1), "1.24.1-1+deb13u10", {"CVE-2026-107350"}, {"CVE-2025-12819", "CVE-2026-6667"}),
        ((1, 24, 1), "1.24.1-1.pgdg13+1", {"CVE-2026-6664"}, set()),
        ((1, 25, 2), None, {"CVE-2026-107349"}, {"CVE-2026-6664"}),
        ((1, 26, 1), None, set(), {"CVE-2026-107350"}),
    ],
)
def test_open_holes_follow_version_and_package(
    version: tuple[int, ...], package: str | None, is_open: set[str], is_closed: set[str]
) -> None:
    found = set(settings.vulnerabilities(version, package))

    assert is_open <= found
    assert not is_closed & found
    assert found <= set(settings.VULNERABILITIES)


@pytest.mark.parametrize("text", ["1.24.1", "PgBouncer 1.24.1", "1.24.1-1+deb13u2", "1:1.24.1-1"])
def test_version_is_found(text: str) -> None:
    assert settings.parse_version(text) == (1, 24, 1)


def test_text_without_version_is_refused() -> None:
    with pytest.raises(InvalidError, match="no version"):
        settings.parse_version("PgBouncer")


def test_catalogue_is_complete_and_sound() -> None:
    assert {section: len(settings.known(section)) for section in settings.SECTIONS} == {
        "pgbouncer": 100,
        "databases": 23,
        "users": 10,
        "peers": 3,
    }
    for section in settings.SECTIONS:
        for name in settings.known(section):
            setting = settings.get(section, name)
            default = setting.default_for(settings.ENGINE)
            # Every default is a value that the check would let through, or the empty text of an unset one.
            if section == "pgbouncer" and default and setting.since <= settings.ENGINE:
                assert settings.check(section, name, default, place=name) == (default, [])
