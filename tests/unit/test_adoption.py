"""Adoption: files, containers' variables and Compose files as an inventory, with everything told that is otherwise."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml

from pooler import cli, scram, settings
from pooler.adoption import compare, compose, environment, installation, report, translate
from pooler.adoption.installation import Installation, Text
from pooler.errors import InvalidError

ENGINE = settings.ENGINE
OPEN = "listen_addr = *\nauth_type = scram-sha-256\n"


def absent(path: str) -> str:
    raise FileNotFoundError(2, "No such file or directory", path)


def read(
    text: str,
    users: str | None = None,
    rules: str | None = None,
    engine: tuple[int, ...] = ENGINE,
    others: Mapping[str, str] | None = None,
) -> Installation:
    def include(path: str) -> str:
        return others[path] if others and path in others else absent(path)

    listed = None if users is None else Text("users", users)
    lines = None if rules is None else Text("rules", rules)
    return installation.read(Text("pgbouncer.ini", text), listed, lines, engine, include)


def fates(old: Installation) -> dict[str, str]:
    return {each.place: each.reason.fate for each in compare.differences(old, translate.translate(old))}


def test_databases_of_most_share_follow_the_server() -> None:
    text = f"[databases]\na = host=db1\nb = host=db1 port=05432 dbname=x\nc = host=db2\n[pgbouncer]\n{OPEN}"

    options = translate.translate(read(text)).options

    assert (options["server"], options["server_port"]) == ("db1", 5432)
    assert options["databases"] == [{"name": "a"}, {"name": "b", "dbname": "x"}, {"name": "c", "host": "db2"}]


def test_default_of_an_older_engine_is_written_where_ours_is_another() -> None:
    text = f"[databases]\na = host=db1\n[pgbouncer]\n{OPEN}"

    assert translate.translate(read(text, engine=(1, 18, 0))).options["settings"]["max_prepared_statements"] == 0
    assert "max_prepared_statements" not in translate.translate(read(text)).options["settings"]


def test_setting_of_a_newer_engine_is_lost_and_told() -> None:
    old = read(f"[databases]\na = host=db1\n[pgbouncer]\n{OPEN}transaction_timeout = 5\n", engine=settings.NEWEST)

    new = translate.translate(old)

    assert "transaction_timeout" not in new.options["settings"]
    assert new.reasons["transaction_timeout"].fate == "lost"


def test_name_that_this_engine_cannot_write_is_lost_and_told() -> None:
    old = read(f"[databases]\n'a b' = host=db1\nc = host=db1\n[pgbouncer]\n{OPEN}", engine=settings.NEWEST)

    assert fates(old)["databases.a b"] == "lost"
    assert [each["name"] for each in translate.translate(old).options["databases"]] == ["c"]


def test_limits_of_one_of_several_processes_become_those_of_the_host() -> None:
    peers = "[peers]\n1 = host=/run/one\n2 = host=/run/two\n"
    old = read(
        f"[databases]\na = host=db1 max_db_connections=7\n{peers}[pgbouncer]\n{OPEN}peer_id = 2\nmax_client_conn = 50\n"
    )

    new = translate.translate(old)

    assert (new.options["instances"], new.instance) == (2, 1)
    assert new.options["settings"]["max_client_conn"] == 100
    assert new.options["databases"][0]["max_db_connections"] == 14
    assert not {"max_client_conn", "databases.a.max_db_connections"} & set(fates(old))


def test_included_files_are_read_in_their_place() -> None:
    text = f"[pgbouncer]\n{OPEN}%include more.ini\npool_mode = statement\n"
    old = read(text, others={"more.ini": "pool_mode = session\nmax_client_conn = 7\n"})

    assert (old.ini.pgbouncer["pool_mode"], old.ini.pgbouncer["max_client_conn"]) == ("statement", "7")


def test_mistake_in_an_included_file_is_told_with_that_files_line() -> None:
    with pytest.raises(InvalidError, match=r"^more\.ini:2: 'pool_moode' is not a setting"):
        read(f"[pgbouncer]\n{OPEN}%include more.ini\n", others={"more.ini": "\npool_moode = session\n"})


def test_missing_included_file_is_told_with_the_line_that_names_it() -> None:
    with pytest.raises(InvalidError, match=r"^pgbouncer\.ini:2: /etc/more\.ini cannot be read: No such file"):
        read("[pgbouncer]\n%include /etc/more.ini\n")


def test_files_that_were_not_given_are_told() -> None:
    old = read("[databases]\na = host=db1\n[pgbouncer]\nauth_type = hba\nauth_file = /etc/u\nauth_hba_file = /etc/h\n")

    assert [(each.place, each.what.partition(" ")[0]) for each in old.remarks] == [
        ("auth_file", "/etc/u"),
        ("auth_hba_file", "/etc/h"),
    ]
    assert report.lost(old, [])


def test_users_behind_a_line_that_stops_the_engine_are_not_let_in() -> None:
    verifier = scram.verifier(secrets.token_urlsafe(), iterations=1)
    old = read(f"[pgbouncer]\n{OPEN}auth_file = /u\n", users=f'"in" "{verifier}"\n# x\n"out" "{verifier}"\n')

    assert list(old.users) == ["in"]
    assert [finding.rule for finding in old.findings if finding.file == "users"] == ["userlist-line"]


def test_rules_that_the_engine_skips_are_told_and_the_others_kept() -> None:
    rules = "host all all 10.0.0.0/8 md5\nhost all +staff 0.0.0.0/0 md5\n\n# x\nlocal all all peer\n"
    old = read(
        "[databases]\na = host=db1\n[pgbouncer]\nlisten_addr = *\nauth_type = hba\nauth_hba_file = /h\n", rules=rules
    )

    assert old.rules == ("host all all 10.0.0.0/8 md5", "local all all peer")
    assert [(each.file, each.line) for each in old.findings if each.rule == "lost-rule"] == [("rules", 2)]


def test_forced_user_with_a_password_is_lost_unless_clients_show_none() -> None:
    entry = "[databases]\na = host=db1 user=b password=x\n[pgbouncer]\nlisten_addr = *\nauth_type = "

    assert fates(read(f"{entry}md5\n"))["databases.a.user"] == "lost"
    assert "databases.a.user" not in fates(read(f"{entry}trust\n"))


def test_seat_for_statistics_by_password_becomes_one_by_certificate() -> None:
    text = f"[databases]\na = host=db1\n[pgbouncer]\n{OPEN}stats_users = watcher, quiet\nadmin_users = ops\n"
    old = read(text, users=f'"watcher" "{secrets.token_hex(8)}"\n"ops" "{scram.verifier(secrets.token_hex(8))}"\n')

    users = {each["name"]: each for each in translate.translate(old).options["users"]}

    assert users["watcher"] == {"name": "watcher", "console": "stats", "certificate": True}
    assert users["quiet"] == {"name": "quiet", "console": "stats"}
    assert users["ops"].keys() == {"name", "console", "verifier"}
    assert fates(old)["users.watcher"] == "changed"


def test_secrets_stand_in_their_own_file_and_nowhere_else(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    password, inline, verifier = secrets.token_hex(8) + "{{x}}", secrets.token_hex(8), scram.verifier("x", iterations=1)
    text = f"[databases]\na = host=db1 password={inline}\n[pgbouncer]\n{OPEN}auth_file = /u\n"
    (tmp_path / "pgbouncer.ini").write_text(text)
    (tmp_path / "userlist.txt").write_text(f'"p" "{password}"\n"v" "{verifier}"\n')
    files = [str(tmp_path / name) for name in ("pgbouncer.ini", "userlist.txt")]

    assert cli.main(["adopt", *files, "--output", str(tmp_path / "out")]) == 0
    assert cli.main(["adopt", *files]) == 0

    vault, variables = tmp_path / "out/pgbouncer_vault.yml", tmp_path / "out/pgbouncer.yml"
    printed = capsys.readouterr()
    for secret in (password, inline, verifier):
        assert secret not in variables.read_text() + printed.out + printed.err
        assert secret in vault.read_text()
    assert vault.stat().st_mode & 0o077 == 0
    assert f'p: !unsafe "{password}"' in vault.read_text()
    found = yaml.safe_load(variables.read_text())
    assert found["pgbouncer_users"][0] == {"name": "p", "password": '{{ vault_pgbouncer["users"]["p"] }}'}


def test_what_needs_a_hand_ends_with_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "pgbouncer.ini"
    file.write_text(f"[databases]\na = dbname=x\n[pgbouncer]\n{OPEN}")

    assert cli.main(["adopt", str(file)]) == 1
    assert "Lost, and needs a hand:\n  databases.a.host: " in capsys.readouterr().err


def test_variables_of_edoburus_image() -> None:
    password = secrets.token_hex(8)
    given = {
        "DB_HOST": "db1",
        "DB_USER": "app",
        "DB_PASSWORD": password,
        "DB_NAME": "shop",
        "POOL_MODE": "transaction",
        "AUTH_TYPE": "scram-sha-256",
        "LISTEN_PORT": "6432",
        "USER": "root",
        "TIMEZONE": "UTC",
    }
    made = environment.written(given, "x.env")
    old = installation.read(made.main, made.users, None, ENGINE, absent)

    assert old.ini.databases == {"shop": {"host": "db1", "port": "5432", "auth_user": "app"}}
    assert old.users == {"app": password}
    assert {
        name: old.ini.pgbouncer[name] for name in ("listen_addr", "listen_port", "pool_mode", "admin_users", "user")
    } == {
        "listen_addr": "0.0.0.0",
        "listen_port": "6432",
        "pool_mode": "transaction",
        "admin_users": "postgres",
        "user": "postgres",
    }
    assert made.unused == ("TIMEZONE", "USER")


def test_urls_of_edoburus_image() -> None:
    made = environment.written({"DATABASE_URLS": "postgres://a:b@db1:5433/one,postgres://c@db2/two,db3/three"}, "x")
    old = installation.read(made.main, made.users, None, ENGINE, absent)

    assert {name: (entry["host"], entry["port"], entry["auth_user"]) for name, entry in old.ini.databases.items()} == {
        "one": ("db1", "5433", "a"),
        "two": ("db2", "5433", "c"),
        "three": ("db3", "5433", "postgres"),
    }
    assert old.users == {"a": "b"}


def test_variables_of_bitnamis_image() -> None:
    password = secrets.token_hex(8) + '"'
    given = {
        "POSTGRESQL_HOST": "db1",
        "POSTGRESQL_USERNAME": "app",
        "POSTGRESQL_PASSWORD": password,
        "PGBOUNCER_DATABASE": "shop",
        "PGBOUNCER_SET_DATABASE_USER": "yes",
        "PGBOUNCER_PORT": "6000",
        "PGBOUNCER_DEFAULT_POOL_SIZE": "9",
        "PGBOUNCER_DSN_0": "other=host=db2 dbname=o",
        "PGBOUNCER_USERLIST": '"more" "x"',
        "PGBOUNCER_INIT_SLEEP_TIME": "3",
    }
    made = environment.written(given, "x.env")
    old = installation.read(made.main, made.users, None, ENGINE, absent)

    assert old.ini.databases == {
        "shop": {"host": "db1", "port": "5432", "user": "app", "dbname": "shop"},
        "other": {"host": "db2", "dbname": "o"},
    }
    assert old.users == {"app": password, "more": "x"}
    assert [old.ini.pgbouncer[name] for name in ("listen_port", "default_pool_size", "auth_type", "admin_users")] == [
        "6000",
        "9",
        "scram-sha-256",
        "app",
    ]
    assert made.unused == ("PGBOUNCER_INIT_SLEEP_TIME",)


def test_container_that_would_not_start_is_told() -> None:
    with pytest.raises(InvalidError, match=r"^x\.env:DB_HOST: is missing"):
        environment.written({"POOL_MODE": "session"}, "x.env")


COMPOSE = """
services:
  db: {image: postgres:17}
  pool:
    image: docker.io/edoburu/pgbouncer:${TAG:-latest}
    env_file: [./common.env]
    environment:
      DB_HOST: db
      DB_PASSWORD: ${PASSWORD}
      MAX_CLIENT_CONN: 300
      AUTH_TYPE: scram-sha-256
    ports: ["5433:5432"]
"""


def test_service_of_a_compose_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    password = secrets.token_hex(8)
    (tmp_path / "compose.yml").write_text(COMPOSE)
    (tmp_path / ".env").write_text(f"PASSWORD={password}\n")
    (tmp_path / "common.env").write_text("DB_USER=app\nMAX_CLIENT_CONN=1\n")

    assert cli.main(["adopt", str(tmp_path / "compose.yml"), "--output", str(tmp_path)]) == 1

    found = yaml.safe_load((tmp_path / "pgbouncer.yml").read_text())
    assert (found["pgbouncer_server"], found["pgbouncer_settings"]["max_client_conn"]) == ("db", 300)
    assert password in (tmp_path / "pgbouncer_vault.yml").read_text()
    assert "ports: clients came by port 5433 of the host" in capsys.readouterr().out


def test_files_mounted_by_a_compose_file_are_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = "services: {pool: {image: bitnami/pgbouncer, volumes: ['./conf:/bitnami/pgbouncer/conf:ro', data:/x]}}"
    (tmp_path / "compose.yaml").write_text(text)
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf/pgbouncer.ini").write_text(f"[databases]\na = host=db1\n[pgbouncer]\n{OPEN}auth_file = /u\n")
    (tmp_path / "conf/userlist.txt").write_text(f'"v" "{scram.verifier("x", iterations=1)}"\n')

    assert cli.main(["adopt", str(tmp_path / "compose.yaml")]) == 0
    assert [each["name"] for each in yaml.safe_load(capsys.readouterr().out)["pgbouncer_users"]] == ["v"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "services: {a: {image: pgbouncer}, b: {image: x/pgbouncer:1}}",
            "has 2 services that look like PgBouncer: a, b",
        ),
        ("services: {a: {image: postgres}}", "has 0 services"),
        ("services: {a: {image: 'pgbouncer:${T}'}}", r"uses \$\{T\}, which has no value"),
        ("services: {a: {image: pgbouncer, env_file: x.env}}", "x.env cannot be read"),
        ("[]", "has no services"),
    ],
)
def test_compose_file_that_does_not_tell_is_refused(text: str, said: str) -> None:
    with pytest.raises(InvalidError, match=said):
        compose.service(text, "c.yml", {}, absent)


def test_values_of_a_compose_file_are_filled_in() -> None:
    text = (
        "services: {a: {image: pgbouncer, environment: ['A=$$x', 'B=${U:-d}', 'C=${E-d}', 'D=${V:+y}', 'V', 'F=$V']}}"
    )

    found = compose.service(text, "c.yml", {"V": "v", "E": ""}, absent)

    assert found.variables == {"A": "$x", "B": "d", "C": "", "D": "y", "V": "v", "F": "v"}
