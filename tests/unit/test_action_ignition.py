"""The module `ignition` on the controller: what it issues, keeps, refuses, and never shows."""

from __future__ import annotations

import json
import secrets
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.pgfleet.pooler.plugins.action import certificate_authority, ignition
from ansible_collections.pgfleet.pooler.pooler import observed, userlist
from ansible_collections.pgfleet.pooler.pooler.certificates import inspect
from ansible_collections.pgfleet.pooler.pooler.errors import InvalidError, PoolerError

PASSPHRASE = secrets.token_urlsafe(16)
PASSWORD = secrets.token_hex(12)
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGV4YW1wbGVleGFtcGxlZXhhbXBsZWV4YW1wbGU= me@example"
MODEL: dict[str, Any] = {
    "image": "registry.example/pooler:1",
    "patroni": ["https://10.0.0.5:8008"],
    "databases": [{"name": "app"}],
    "users": [{"name": "listed", "password": PASSWORD}],
}


class Controller:
    def __init__(self, place: Path) -> None:
        self.place = place
        self.archive = place / "boots" / "pool1.secrets.tar.gz"
        authority = _action(certificate_authority.ActionModule, check=False)
        authority.perform(
            {"directory": str(place / "pki"), "passphrase": PASSPHRASE, "common_name": "a", "days": 3650, "step": "due"}
        )

    def render(self, *, check: bool = False, **changed: Any) -> dict[str, Any]:
        options = {
            "pgbouncer": MODEL,
            "authorized_keys": [KEY],
            "secrets_url": "s3://fleet/secrets/pool1.tar.gz",
            "config_url": None,
            "directory": str(self.place / "boots"),
            "names": ["pool1", "10.0.0.7"],
            "days": 365,
            "authority_directory": str(self.place / "pki"),
            "passphrase": PASSPHRASE,
            "image_url": None,
            "image_sha512": None,
            "leader": None,
            "updates": None,
        }
        result: dict[str, Any] = _action(ignition.ActionModule, check).perform(options | changed)
        return result

    def files(self) -> dict[str, Any]:
        return dict(observed.files(self.archive.read_bytes()))

    def certificate(self, use: str) -> str:
        (place,) = (
            path for path in self.files() if path.startswith(f"/etc/pgbouncer/tls/{use}/") and "tls.crt" in path
        )
        return str(self.files()[place].content.decode())


def _action(kind: Any, check: bool) -> Any:
    action = kind.__new__(kind)
    action.check, action.diff, action.host_name = check, True, "pool1"
    return action


@pytest.fixture
def controller(tmp_path: Path) -> Controller:
    return Controller(tmp_path)


def test_the_archive_lies_on_the_controller_for_its_owner_alone(controller: Controller) -> None:
    result = controller.render()
    assert result["changed"]
    assert result["secrets"]["src"] == str(controller.archive)
    assert controller.archive.stat().st_mode & 0o777 == 0o600
    assert controller.archive.parent.stat().st_mode & 0o777 == 0o700


def test_user_data_name_the_archive_by_the_digest_it_has(controller: Controller) -> None:
    result = controller.render()
    assert (result["secrets"]["bucket"], result["secrets"]["key"]) == ("fleet", "secrets/pool1.tar.gz")
    assert f"sha512-{result['secrets']['sha512']}" in result["user_data"]


def test_certificates_are_for_the_names_and_the_role(controller: Controller) -> None:
    controller.render()
    assert inspect(controller.certificate("server")).addresses == ("10.0.0.7",)
    assert inspect(controller.certificate("client")).common_name == "pgbouncer"


def test_the_same_options_give_the_same_user_data_and_archive(controller: Controller) -> None:
    first, archive = controller.render(), controller.archive.read_bytes()
    second = controller.render()
    assert not second["changed"]
    assert second["user_data"] == first["user_data"]
    assert controller.archive.read_bytes() == archive


def test_another_database_is_another_archive_with_the_certificates_and_verifiers_of_before(
    controller: Controller,
) -> None:
    controller.render()
    before = controller.certificate("server"), _verifiers(controller)
    changed = controller.render(pgbouncer={**MODEL, "databases": [{"name": "other"}]})
    assert changed["changed"]
    assert (controller.certificate("server"), _verifiers(controller)) == before


def test_another_name_of_the_host_is_another_certificate_for_its_clients_alone(controller: Controller) -> None:
    controller.render()
    server, client = controller.certificate("server"), controller.certificate("client")
    result = controller.render(names=["pool1", "10.0.0.8"])
    assert "lacks 10.0.0.8" in result["diff"]["after"]
    assert controller.certificate("server") != server
    assert controller.certificate("client") == client


def test_check_mode_writes_nothing(controller: Controller) -> None:
    assert controller.render(check=True)["changed"]
    assert not controller.archive.exists()


def test_nothing_that_is_returned_holds_a_secret(controller: Controller) -> None:
    shown = json.dumps(controller.render())
    hidden = [PASSWORD, PASSPHRASE, *_verifiers(controller).values()]
    hidden += [
        line
        for file in controller.files().values()
        if b"PRIVATE KEY" in file.content
        for line in file.content.decode().splitlines()
        if "PRIVATE KEY" not in line
    ]
    assert len(hidden) > 6
    assert [word for word in hidden if word in shown] == []


def test_without_a_place_for_secrets_none_are_made(controller: Controller) -> None:
    result = controller.render(secrets_url=None, directory=None, authority_directory=None, passphrase=None)
    assert (result["changed"], result["secrets"]) == (False, None)
    assert not controller.archive.exists()


def test_what_secrets_need_is_asked_for_all_at_once(controller: Controller) -> None:
    with pytest.raises(InvalidError) as caught:
        controller.render(directory=None, passphrase=None)
    assert {problem.place for problem in caught.value.problems} == {"directory", "passphrase"}


def test_a_place_that_ignition_cannot_fetch_from_is_refused(controller: Controller) -> None:
    with pytest.raises(InvalidError, match="secrets_url: 'http://plain/x' is not a place to fetch from"):
        controller.render(secrets_url="http://plain/x")


def test_something_else_in_the_archives_place_is_not_overwritten(controller: Controller) -> None:
    controller.archive.parent.mkdir()
    controller.archive.write_text("not ours")
    with pytest.raises(PoolerError, match="is not an archive of ours"):
        controller.render()
    assert controller.archive.read_text() == "not ours"


def test_too_large_for_user_data_is_solved_or_told(controller: Controller) -> None:
    keys = [f"ssh-ed25519 {secrets.token_hex(200)} k{number}" for number in range(90)]
    result = controller.render(authorized_keys=keys, config_url="s3://fleet/ignition/pool1.json")
    assert result["form"] == "pointer"
    assert (result["object"]["bucket"], result["object"]["key"]) == ("fleet", "ignition/pool1.json")
    assert keys[89] in result["object"]["content"]
    with pytest.raises(PoolerError, match="config_url"):
        controller.render(authorized_keys=keys)


def _verifiers(controller: Controller) -> dict[str, str]:
    (text,) = (f.content.decode() for path, f in controller.files().items() if path.endswith("/userlist.txt"))
    return dict(userlist.parse(text))
