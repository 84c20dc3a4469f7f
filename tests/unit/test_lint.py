"""Lint: every mistake of a foreign file by its line, and silence about our own."""

from __future__ import annotations

import secrets

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pooler import hba, ini, scram, userlist
from pooler.lint import Kind, lint_text


def told(kind: Kind, text: str, version: tuple[int, ...] = (1, 24, 1)) -> list[str]:
    """The problems, without the notes."""
    return [str(found.problem) for found in lint_text(kind, text, "f", version) if found.level != "note"]


def rules(kind: Kind, text: str) -> list[tuple[int, str]]:
    return [(found.line, found.rule) for found in lint_text(kind, text, "f") if found.level != "note"]


def test_our_own_files_are_clean() -> None:
    verifier = scram.verifier(secrets.token_urlsafe(), iterations=1)
    file = ini.Ini(
        pgbouncer={
            "ignore_startup_parameters": "extra_float_digits,options",
            "query_timeout": "0.5",
            "log_stats": "1",
            "listen_addr": "*",
            "client_tls_sslmode": "require",
            "server_tls_sslmode": "verify-full",
        },
        databases={"app": {"host": "db1", "connect_query": "select 'a b'"}},
        users={"ops": {"pool_mode": "session"}},
        peers={"1": {"host": "/run/pgbouncer/50001", "port": "6432"}},
        includes=("/etc/pgbouncer/databases/databases.ini",),
    )
    lines = [hba.Rule("hostssl", ("all",), ("all",), "all", "scram-sha-256")]

    assert told("ini", ini.render(file)) == []
    assert told("ini", ini.render_databases(file.databases)) == []
    assert told("userlist", userlist.render({"app": verifier})) == []
    assert told("hba", hba.render(lines)) == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("listn_port = 1", "f:2: 'listn_port' is not a setting of [pgbouncer] (did you mean 'listen_port'?)"),
        ("transaction_timeout = 1", "f:2: transaction_timeout needs PgBouncer 1.25.0"),
        ("query_timeout = 1m", "f:2: query_timeout must be a number of seconds"),
        ("log_stats = yes", "f:2: log_stats must be 0 or 1"),
        ("log_stats = 7", "f:2: log_stats: '7' is not a boolean"),
        ("listen_port = 70000", "f:2: listen_port: '70000' is out of range (1 to 65535)"),
        ("max_client_conn = 0100", "f:2: max_client_conn: '0100' starts with 0"),
        ("max_client_conn = -1", "f:2: max_client_conn: '-1' is out of range"),
        ("ignore_startup_parameters = extra_float_digits", "f:2: ignore_startup_parameters lacks options"),
        ("[pgbouncer]", "f:2: a second [pgbouncer] header sets everything above back to its default (join it with"),
        ("[databases]\na = pool_size=abc", "f:3: pool_size: 'abc' is not a whole number"),
        ("[databases]\na = reserve_pool=1", "f:3: reserve_pool is deprecated"),
        ("[databases]\na = dbname=x\tport=1", "f:3: a tab is part of the value of dbname"),
        ("[databases]\na = host=''", "f:3: syntax error in the settings of database 'a'"),
        ("[databases]\npgbouncer = host=/x", "f:3: the database name 'pgbouncer' is reserved"),
        ("[databases]\na = hst=x", "f:3: 'hst' is not a setting of [databases] (did you mean 'host'?)"),
        ("[peers]\n1 = port=6432", "f:3: peer '1' has no host"),
        ("'a' = 1", "f:2: neither `name = value` nor"),
    ],
)
def test_mistake_is_told_with_its_line(text: str, said: str) -> None:
    (only,) = told("ini", f"[pgbouncer]\n{text}\n")
    assert only.startswith(said)


def test_problems_come_in_the_order_of_the_file() -> None:
    places = [found.problem.place for found in lint_text("ini", "[pgbouncer]\nx=1\n[pgbouncer]\ny=1\n!\n", "f")]

    assert places == ["f:2", "f:3", "f:4", "f:5"]


def test_missing_options_are_no_problem_for_a_repaired_engine() -> None:
    text = "[pgbouncer]\nignore_startup_parameters = search_path\n"

    assert told("ini", text, (1, 26, 0)) != []
    assert told("ini", text, (1, 26, 1)) == []


def test_file_without_any_section_is_told() -> None:
    assert told("ini", "; nothing\n") == ["f:1: the engine does not start without a [pgbouncer] section"]


def test_secret_in_the_open_is_told_and_not_shown() -> None:
    secret = secrets.token_urlsafe()

    in_database = told("ini", f"[databases]\na = host=x password={secret}\n")
    in_userlist = told("userlist", f'"a" "{secret}"\n\n"b" "md5{secret}"\n')

    assert [line.partition(" ")[0] for line in in_database + in_userlist] == ["f:2:", "f:1:", "f:3:"]
    assert secret not in "".join(in_database + in_userlist)


def test_userlist_line_that_stops_the_engine_is_told() -> None:
    assert told("userlist", '# users\n"a" ""\n') == [
        "f:1: the engine reads no further than a line with # (comments start with ;)"
    ]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("listen_addr = *", [(1, "tls")]),
        ("listen_addr = 127.0.0.1, ::1, localhost", []),
        ("listen_addr = 10.0.0.1\nclient_tls_sslmode = prefer", [(3, "tls")]),
        ("listen_addr = *\nclient_tls_sslmode = require\nauth_type = trust", [(4, "login")]),
        ("listen_addr = *\nclient_tls_sslmode = allow\nauth_type = plain", [(3, "tls"), (4, "login")]),
        ("[databases]\na = host=db1", [(1, "tls")]),
        ("[databases]\na = host=/run,localhost", []),
        ("server_tls_sslmode = verify-full\n[databases]\na = host=db1", []),
        ("server_tls_sslmode = verify-ca\n[databases]\na = host=db1", [(2, "tls")]),
        ("client_tls_protocols = tlsv1.1, tlsv1.2", [(2, "tls")]),
        ("server_tls_protocols = secure", []),
        ("server_tls_ciphers = HIGH:RC4:!aNULL", [(2, "tls")]),
        ("client_tls_ciphers = HIGH:!RC4", []),
        ("[databases]\na = pool_size=30 max_db_connections=20", [(3, "pools")]),
        ("max_db_connections = 10\n[databases]\na =", [(4, "pools")]),
        ("default_pool_size = 5\nmin_pool_size = 6\n[databases]\na =", [(5, "pools")]),
        ("[databases]\na = pool_size=200", [(3, "pools")]),
        ("max_client_conn = 0x100\n[databases]\na = pool_size=200", [(2, "value")]),
        ("[databases]\na = pool_size=0 min_pool_size=3 max_db_connections=5", []),
    ],
)
def test_what_contradicts_itself_or_is_open_is_told(text: str, found: list[tuple[int, str]]) -> None:
    assert rules("ini", f"[pgbouncer]\n{text}\n") == sorted(found)


def test_restart_only_setting_is_a_note() -> None:
    (note,) = lint_text("ini", "[pgbouncer]\npkt_buf = 8192\npool_mode = session\n", "f")

    assert (note.level, note.line, note.rule) == ("note", 2, "restart")


def test_open_rule_is_told() -> None:
    text = (
        "host all all 10.0.0.0/8 trust\nlocal all all trust\nhost a b 127.0.0.1/32 trust\nhost all all all password\n"
    )

    assert rules("hba", text) == [(1, "login"), (4, "login")]


def test_lost_rule_is_told() -> None:
    (only,) = told("hba", "host all all all md5\nhost all all 10.0.0.1/8 reject\n")
    assert only.startswith("f:2: 10.0.0.1/8 has bits behind its mask")


@given(st.sampled_from(["ini", "userlist", "hba"]), st.text(st.sampled_from("[]='\"ab# ;%,.1/\n\t\0é"), max_size=60))
def test_any_text_is_judged_without_an_exception(kind: Kind, text: str) -> None:
    assert all(found.problem.place.startswith("f:") and found.line for found in lint_text(kind, text, "f"))
