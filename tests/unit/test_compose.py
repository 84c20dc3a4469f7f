"""A Compose project: a database or a user is one line, secrets stay where they are needed, what is right stays."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from pooler import certificates, cli, scram
from pooler.errors import InvalidError, PoolerError
from pooler.targets import compose_model, project

GIVEN: dict[str, Any] = {"databases": ["app"], "users": ["app"]}


def write(directory: Path, **changes: Any) -> dict[str, Any]:
    """Render into the directory; what stands in compose.yml."""
    project.write(GIVEN | changes, directory, lambda: "a passphrase")
    found: dict[str, Any] = yaml.safe_load((directory / "compose.yml").read_text())
    return found


def prepared(directory: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((directory / "files/prepare/prepare.json").read_text())
    return found


def no_passphrase() -> str:
    raise AssertionError("nothing has to be signed")


def test_a_second_database_and_user_are_one_line_each(tmp_path: Path) -> None:
    write(tmp_path)
    write(tmp_path, databases=["app", {"name": "shop", "pool_size": 5}], users=["app", "shop"])

    found = prepared(tmp_path)
    assert [each["name"] for each in found["roles"]] == ["app", "shop"]
    assert found["databases"] == [{"name": "app", "owner": "app"}, {"name": "shop", "owner": "shop"}]
    entries = (tmp_path / "files/pgbouncer/databases/databases.ini").read_text()
    assert "shop = dbname=shop host=postgresql pool_size=5 port=5432" in entries
    assert (tmp_path / "passwords/shop").read_text() != (tmp_path / "passwords/app").read_text()


def test_a_second_rendering_changes_nothing_and_asks_for_no_passphrase(tmp_path: Path) -> None:
    write(tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    project.write(GIVEN, tmp_path, no_passphrase)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_what_is_started_from_other_files_is_another_container(tmp_path: Path) -> None:
    def labels(found: dict[str, Any]) -> dict[str, Any]:
        return {name: service["labels"] for name, service in found["services"].items() if "labels" in service}

    before = labels(write(tmp_path))
    pools = labels(write(tmp_path, databases=[{"name": "app", "pool_size": 3}]))
    changed = {name for name in before if before[name] != pools[name]}
    assert changed == {"pgbouncer-50001", "pgbouncer-50002"}
    settings = labels(write(tmp_path, postgresql={"settings": {"work_mem": "8MB"}}))
    assert {name for name in before if before[name] != settings[name]} == {"postgresql"}


def test_no_password_reaches_what_containers_read(tmp_path: Path) -> None:
    write(tmp_path, users=["app", {"name": "own", "password": "of my own choice"}])
    drawn = (tmp_path / "passwords/app").read_text().strip()
    read = "".join(path.read_text() for path in (tmp_path / "files").rglob("*") if path.is_file())
    read += (tmp_path / "compose.yml").read_text()
    assert drawn not in read
    assert "of my own choice" not in read
    by_name = {each["name"]: each["secret"] for each in prepared(tmp_path)["roles"]}
    assert scram.verifies(by_name["app"], drawn)
    assert scram.verifies(by_name["own"], "of my own choice")


def test_secrets_are_for_their_owner_alone(tmp_path: Path) -> None:
    write(tmp_path / "project")
    everybody = {"compose.yml", "ca.crt"}
    for path in (tmp_path / "project").rglob("*"):
        if path.is_file() and path.name not in everybody | {"tls.crt"}:
            assert path.stat().st_mode & 0o077 == 0, path
        if path.is_dir() and path.name != "project":
            assert path.stat().st_mode & 0o077 == 0, path


def test_the_authority_signs_what_comes_later_with_its_passphrase_alone(tmp_path: Path) -> None:
    write(tmp_path)
    root = (tmp_path / "ca.crt").read_text()
    with pytest.raises(PoolerError, match="passphrase does not open it"):
        project.write(GIVEN | {"names": ["db.example"]}, tmp_path, lambda: "another")
    write(tmp_path, names=["db.example", "10.1.2.3"])
    assert (tmp_path / "ca.crt").read_text() == root
    (leaf,) = (tmp_path / "files/pgbouncer/tls/server").glob("*/tls.crt")
    state = certificates.inspect(leaf.read_text())
    assert (state.dns_names, state.addresses) == (("db.example",), ("10.1.2.3",))
    assert state.issued_by(root)
    assert b"ENCRYPTED" in (tmp_path / "authority/ca.key").read_bytes()


def test_containers_may_do_nothing_they_need_not(tmp_path: Path) -> None:
    services = write(tmp_path)["services"]
    for name, service in services.items():
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges"], name
        assert name == "postgresql" or service["read_only"] is True, name
        assert name == "files" or not service["user"].startswith("0"), name
    assert services["files"]["network_mode"] == "none"


def test_instances_share_the_port_of_a_container_that_stays(tmp_path: Path) -> None:
    services = write(tmp_path, publish=["127.0.0.1", "::1"])["services"]
    assert services["network"]["ports"] == [
        *("127.0.0.1:6432:6432", "127.0.0.1:9127:9127", "[::1]:6432:6432", "[::1]:9127:9127"),
    ]
    for name in ("pgbouncer-50001", "pgbouncer-50002", "agent"):
        assert services[name]["network_mode"] == "service:network"


def test_the_script_that_copies_is_one_for_sh(tmp_path: Path) -> None:
    write(tmp_path)
    for script in ("copy.sh", "postgresql/start.sh"):
        subprocess.run(["sh", "-n", str(tmp_path / "files" / script)], check=True)


def test_pools_are_held_against_max_connections(tmp_path: Path) -> None:
    with pytest.raises(InvalidError, match="there is room for 88: max_connections 100 - 10 reserved - 2 of agents"):
        write(tmp_path, databases=[{"name": "app", "pool_size": 50}])
    write(tmp_path, databases=[{"name": "app", "pool_size": 50}], postgresql={"settings": {"max_connections": 150}})


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"database": []}, "database: is not known .did you mean 'databases'"),
        ({"users": []}, "databases.0..owner: is missing"),
        ({"databases": [{"name": "a", "owner": "ap"}]}, "owner: 'ap' is none of users .did you mean 'app'"),
        ({"users": [{"name": "app", "pool_size": 3}]}, "users.0..pool_size: is not known"),
        ({"pgbouncer": {"server": "db"}}, "pgbouncer.server: follows from something else"),
        ({"pgbouncer": {"auth_query": {"password": "hidden"}}}, "pgbouncer.auth_query: log in with certificates"),
        ({"postgresql": {"uid": 0}}, "postgresql.uid: 0 is no id of a user other than root"),
        ({"postgresql": {"settings": {"a; b": 1}}}, "is no name of a setting"),
    ],
)
def test_what_cannot_be_is_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidError, match=words) as refused:
        compose_model.read(GIVEN | changes)
    assert "hidden" not in str(refused.value)


def test_without_a_directory_nothing_is_rendered(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = tmp_path / "model.yml"
    given.write_text(yaml.safe_dump(GIVEN))
    assert cli.main(["render", "compose", str(given)]) == 1
    assert "give --output" in capsys.readouterr().err
