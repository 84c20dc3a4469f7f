"""The `pooler` command, as a person or a script calls it."""

from __future__ import annotations

import io
import json
import os
import secrets
import subprocess
import sys
from pathlib import Path

import pytest

from pooler import cli, scram

VARIABLES = {"image": "localhost/pgfleet/pooler:0.1.0", "server": "db1", "databases": [{"name": "app"}]}


def test_scram_takes_the_password_from_standard_input(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    password = secrets.token_hex(8)
    monkeypatch.setattr("sys.stdin", io.StringIO(password + "\n"))
    assert cli.main(["scram"]) == 0
    assert scram.verifies(capsys.readouterr().out.strip(), password)


def test_lint_names_file_and_line_and_exits_with_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "pgbouncer.ini"
    file.write_text("[databases]\napp = host=db1\n[pgbouncer]\npool_moode = session\n")
    assert cli.main(["lint", str(file)]) == 1
    assert f"{file}:4: " in capsys.readouterr().out


def test_lint_speaks_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "userlist.txt"
    file.write_text('# not a comment\n"u" "x"\n')
    assert cli.main(["lint", "--json", str(file)]) == 1
    first, second = json.loads(capsys.readouterr().out)
    assert (first["file"], first["line"], first["level"], first["rule"]) == (str(file), 1, "error", "userlist-line")
    assert (second["line"], second["rule"]) == (2, "secret")


def test_lint_speaks_sarif(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "pg bouncer.ini"
    file.write_text("[pgbouncer]\nlisten_addr = *\nlog_stats = 7\n")
    assert cli.main(["lint", "--sarif", str(file)]) == 1
    (run,) = json.loads(capsys.readouterr().out)["runs"]
    rules = run["tool"]["driver"]["rules"]
    found = {}
    for result in run["results"]:
        (place,) = [each["physicalLocation"] for each in result["locations"]]
        assert place["artifactLocation"]["uri"] == str(file).replace(" ", "%20")
        assert rules[result["ruleIndex"]]["id"] == result["ruleId"]
        found[result["ruleId"]] = (result["level"], place["region"]["startLine"])
    assert found == {"restart": ("note", 2), "value": ("warning", 3), "tls": ("warning", 1)}


def test_lint_of_notes_alone_succeeds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "pgbouncer.ini"
    file.write_text("[pgbouncer]\nlisten_port = 6432\n")
    assert cli.main(["lint", str(file)]) == 0
    assert capsys.readouterr().out.startswith(f"{file}:2: note: a change of listen_port needs a restart")


def test_lint_of_a_missing_file_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["lint", "/nowhere/pgbouncer.ini"]) == 1
    assert capsys.readouterr().err == "/nowhere/pgbouncer.ini: No such file or directory\n"


def test_render_writes_what_a_host_would_get(tmp_path: Path) -> None:
    given = tmp_path / "variables.json"
    given.write_text(json.dumps(VARIABLES))
    assert cli.main(["render", str(given), "--output", str(tmp_path / "host")]) == 0
    databases = (tmp_path / "host/etc/pgbouncer/databases/databases.ini").read_text()
    assert "app = dbname=app host=db1 port=5432" in databases
    (userlist,) = (tmp_path / "host/etc/pgbouncer/releases").glob("*/userlist.txt")
    assert userlist.stat().st_mode & 0o077 == 0


def test_render_names_what_is_wrong_with_the_variables(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = tmp_path / "variables.json"
    given.write_text(json.dumps(VARIABLES | {"port": 70000}))
    assert cli.main(["render", str(given)]) == 1
    assert capsys.readouterr().err.startswith("port: 70000 is not")


def test_a_console_that_cannot_be_reached_is_an_error_on_its_own_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["console", "127.0.0.1:1", "--command", "SHOW POOLS"]) == 1
    assert capsys.readouterr().err.startswith("127.0.0.1:1: ")


def test_a_reader_who_has_seen_enough_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "pgbouncer.ini").write_text("[pgbouncer]\nlisten_prot = 1\n")
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "pooler.cli", "lint", str(tmp_path / "pgbouncer.ini")]
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writer)
    assert done.stderr == ""


def test_leader_says_as_json_why_there_is_none(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["leader", "http://127.0.0.1:1"]) == 1
    assert "no member of Patroni names a leader" in json.loads(capsys.readouterr().out)["error"]
