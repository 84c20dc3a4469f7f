"""The certificate actions, against the directory tree of this machine and a real shell."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.pgfleet.pooler.plugins.action import certificate, certificate_authority
from ansible_collections.pgfleet.pooler.plugins.plugin_utils import host as host_room
from ansible_collections.pgfleet.pooler.plugins.plugin_utils import leaves
from ansible_collections.pgfleet.pooler.plugins.plugin_utils.authority import AuthorityFiles
from ansible_collections.pgfleet.pooler.plugins.plugin_utils.host import Host, HostError
from ansible_collections.pgfleet.pooler.pooler import certificates
from ansible_collections.pgfleet.pooler.pooler.errors import PoolerError

PASSPHRASE = secrets.token_urlsafe(16)


class Bench:
    """One host, which is this machine below `root`, and one authority."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.pki = root / "pki"
        self.leaf = root / "leaf"
        self.trips: list[bytes] = []

    def execute(self, command: str, data: bytes) -> Mapping[str, Any]:
        self.trips.append(data)
        done = subprocess.run(["sh", "-c", command], input=data, capture_output=True, check=False)
        return {"rc": done.returncode, "stdout": done.stdout.decode(), "stderr": done.stderr.decode()}

    def authority(
        self, step: str = "due", *, check: bool = False, passphrase: str = PASSPHRASE, days: int = 3650
    ) -> dict[str, Any]:
        action = _action(certificate_authority.ActionModule, check)
        name = "test authority"
        result: dict[str, Any] = action.perform(
            {"directory": str(self.pki), "passphrase": passphrase, "common_name": name, "days": days, "step": step}
        )
        return result

    def issue(
        self,
        *,
        check: bool = False,
        state: str = "present",
        renew: bool = False,
        key_type: str = "ecdsa",
        brought: Sequence[Mapping[str, str]] = (),
        authority: Mapping[str, Any] | None = None,
        **leaf: Any,
    ) -> dict[str, Any]:
        action = _action(certificate.ActionModule, check)
        action.host_name = "h1"
        action.host = lambda: Host("h1", self.execute)
        one = {"directory": str(self.leaf), "common_name": None, "names": None, "usages": ["server"]}
        result: dict[str, Any] = action.perform(
            {
                "state": state,
                "leaves": [one | {"owner": os.getuid()} | leaf],
                "names": ["h1", "10.0.0.7"],
                "days": 365,
                "renew": renew,
                "key_type": key_type,
                "brought": [{"directory": str(self.leaf), **each} for each in brought],
                "authority_directory": None if brought else str(self.pki),
                "passphrase": None if brought else PASSPHRASE,
                "authority": authority,
            }
        )
        return result

    def current(self, name: str) -> str:
        return (self.leaf / "current" / name).read_text()

    def serials(self) -> set[str]:
        return {path.name for path in self.leaf.iterdir()} - {"current"}


def _action(kind: Any, check: bool) -> Any:
    action = kind.__new__(kind)
    action.check, action.diff = check, True
    return action


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.setattr(host_room, "STAGING", str(tmp_path / "staging"))
    return Bench(tmp_path)


def test_an_authority_is_made_once_and_its_key_lies_encrypted(bench: Bench) -> None:
    assert bench.authority()["changed"]
    key = (bench.pki / "ca.key").read_bytes()
    assert b"ENCRYPTED" in key
    assert (bench.pki / "ca.key").stat().st_mode & 0o777 == 0o600
    again = bench.authority()
    assert not again["changed"]
    assert (bench.pki / "ca.key").read_bytes() == key


def test_check_mode_makes_no_authority_and_no_directory(bench: Bench) -> None:
    assert bench.authority(check=True)["changed"]
    assert not bench.pki.exists()


def test_a_wrong_passphrase_is_told_before_anything_is_issued(bench: Bench) -> None:
    bench.authority()
    with pytest.raises(PoolerError, match=r"ca\.key.*passphrase"):
        bench.authority(passphrase="another")


@pytest.mark.parametrize("lost", ["ca.key", "ca.crt"])
def test_half_an_authority_is_never_replaced(bench: Bench, lost: str) -> None:
    bench.authority()
    (bench.pki / lost).unlink()
    with pytest.raises(PoolerError, match=f"{lost}: is missing"):
        bench.authority()
    assert not (bench.pki / lost).exists()


def test_in_the_last_third_of_its_life_the_next_authority_is_trusted_besides(bench: Bench) -> None:
    def pair(age: int) -> None:
        made = certificates.new_authority("old", days=90, now=datetime.now(UTC) - timedelta(days=age))
        AuthorityFiles(bench.pki).write(made, PASSPHRASE)

    bench.authority()
    pair(age=59)
    assert not bench.authority()["changed"]
    pair(age=61)
    assert bench.authority(check=True)["changed"]
    due = bench.authority()
    assert (due["changed"], due["stage"], due["certificate"].count("BEGIN")) == (True, "trusted", 2)
    assert "reissue" in due["warnings"][0]
    assert not bench.authority()["changed"]


def test_a_leaf_costs_two_trips_and_an_unchanged_one_costs_one(bench: Bench) -> None:
    bench.authority()
    first = bench.issue()
    assert (first["changed"], first["trips"]) == (True, 2)
    second = bench.issue()
    assert (second["changed"], second["trips"]) == (False, 1)
    assert second["leaves"][0]["serial"] == first["leaves"][0]["serial"]


ASKED = {"common_name": "test authority", "days": 3650, "step": "due"}


def test_a_host_gets_its_leaves_and_the_authority_in_one_task(bench: Bench) -> None:
    planned = bench.issue(check=True, authority=ASKED)
    assert planned["changed"]
    assert not bench.pki.exists()
    made = bench.issue(authority=ASKED)
    assert made["changed"]
    assert [shown["after_header"] for shown in made["diff"]] == [str(bench.pki / "ca.crt"), f"{bench.leaf}/current"]
    assert made["trips"] == 2
    again = bench.issue(authority=ASKED)
    assert not again["changed"]
    assert again["diff"] == []
    assert again["trips"] == 1


def test_a_step_of_the_authority_is_taken_before_leaves_are_issued(bench: Bench) -> None:
    bench.issue(authority=ASKED)
    first = bench.current("ca.crt")
    told = bench.issue(authority=ASKED | {"step": "trust"})
    assert told["changed"]
    assert "reissue" in told["warnings"][0]
    assert bench.current("ca.crt").startswith(first)
    assert bench.current("ca.crt").count("BEGIN") == 2


def test_an_authority_that_cannot_be_used_keeps_leaves_as_they_are(bench: Bench) -> None:
    bench.issue(authority=ASKED)
    before = bench.serials()
    (bench.pki / "ca.key").write_bytes(b"no key")
    with pytest.raises(PoolerError, match=r"ca\.key"):
        bench.issue(renew=True, authority=ASKED)
    assert bench.serials() == before


def test_a_leaf_that_is_not_due_is_issued_anew_when_that_is_asked_for(bench: Bench) -> None:
    bench.authority()
    first, again = bench.issue(), bench.issue(renew=True)
    assert again["changed"]
    assert again["leaves"][0]["reasons"] == ["asked for"]
    assert bench.serials() == {first["leaves"][0]["serial"], again["leaves"][0]["serial"]}


def test_the_key_on_the_host_belongs_to_the_certificate_and_to_its_owner_alone(bench: Bench) -> None:
    bench.authority()
    bench.issue()
    key = bench.leaf / "current" / "tls.key"
    assert key.stat().st_mode & 0o777 == 0o600
    leaf = certificates.x509.load_pem_x509_certificate(bench.current("tls.crt").encode())
    loaded = certificates.serialization.load_pem_private_key(key.read_bytes(), None)
    assert loaded.public_key() == leaf.public_key()
    assert bench.current("ca.crt") == (bench.pki / "ca.crt").read_text()


def test_no_key_comes_back_in_result_or_diff(bench: Bench) -> None:
    bench.authority()
    result = bench.issue()
    secret = bench.current("tls.key").splitlines()[1]
    assert secret not in str(result)
    assert "PRIVATE" not in str(result)
    assert PASSPHRASE not in str(result)


def test_a_key_is_never_read_back(bench: Bench) -> None:
    bench.authority()
    bench.issue()
    secret = bench.current("tls.key").splitlines()[1]
    printed: list[str] = []
    execute = bench.execute

    def listen(command: str, data: bytes) -> Mapping[str, Any]:
        answer = execute(command, data)
        printed.append(answer["stdout"])
        return answer

    bench.execute = listen  # type: ignore[method-assign]
    bench.issue()
    bench.issue(names=["other.example"])
    assert len(printed) == 3
    assert secret not in "".join(printed)
    assert bench.current("tls.key").splitlines()[1] not in "".join(printed)


def test_another_name_is_another_leaf_and_the_one_before_is_kept(bench: Bench) -> None:
    bench.authority()
    serials = [bench.issue(names=[name])["leaves"][0]["serial"] for name in ("a.example", "b.example", "c.example")]
    assert bench.serials() == set(serials[1:])
    assert (bench.leaf / "current").readlink() == Path(serials[2])


def test_a_leaf_that_an_instance_still_names_outlives_any_number_of_reissues(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    releases = bench.root / "releases"
    (releases / "1").mkdir(parents=True)
    monkeypatch.setattr(leaves, "READERS", str(releases))
    bench.authority()
    used = bench.issue(names=["a.example"])["leaves"][0]["serial"]
    ini = releases / "1" / "50001.ini"
    ini.write_text(f"[pgbouncer]\nclient_tls_key_file = {bench.leaf}/{used}/tls.key\n")
    serials = [bench.issue(names=[f"{name}.example"])["leaves"][0]["serial"] for name in "bcd"]
    assert bench.serials() == {used, *serials[1:]}
    ini.unlink()
    last = bench.issue(names=["e.example"])["leaves"][0]["serial"]
    assert bench.serials() == {serials[-1], last}


@pytest.mark.parametrize("trouble", ["missing", "old"])
@pytest.mark.parametrize("module", ["certificate", "certificate_authority", "ignition"])
def test_a_controller_without_a_usable_cryptography_is_told_what_to_install(module: str, trouble: str) -> None:
    spoil = "sys.modules['cryptography'] = None"
    if trouble == "old":
        spoil = "import cryptography; cryptography.__version__ = '41.0.7'"
    program = f"""
import sys, types
sys.path.insert(0, {str(Path(__file__).parents[2] / "build")!r})
{spoil}
from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible_collections.pgfleet.pooler.plugins.action import {module} as action
ActionBase.run = lambda self, tmp, task_vars: {{}}
made = action.ActionModule.__new__(action.ActionModule)
made._task = types.SimpleNamespace(check_mode=False, diff=False, delegate_to=None)
try:
    made.run(None, {{}})
except AnsibleActionFail as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert "pip install --upgrade cryptography" in done.stdout, done.stderr
    assert ("too old" in done.stdout) == (trouble == "old")


def test_check_mode_tells_what_would_be_issued_and_issues_nothing(bench: Bench) -> None:
    bench.authority()
    result = bench.issue(check=True)
    assert (result["changed"], result["trips"]) == (True, 1)
    assert "names: 10.0.0.7, h1" in result["diff"][0]["after"]
    assert not bench.leaf.exists()


def test_check_mode_works_before_there_is_an_authority(bench: Bench) -> None:
    assert bench.issue(check=True)["changed"]
    with pytest.raises(PoolerError, match="holds no authority"):
        bench.issue()


def _empty_key(leaf: Path) -> None:
    (leaf / "current" / "tls.key").write_bytes(b"")


def _open_key(leaf: Path) -> None:
    (leaf / "current" / "tls.key").chmod(0o644)


def _lost_certificate(leaf: Path) -> None:
    (leaf / "current" / "tls.crt").unlink()


def _broken_certificate(leaf: Path) -> None:
    (leaf / "current" / "tls.crt").write_text("nonsense\n")


def _dangling(leaf: Path) -> None:
    (leaf / "current").unlink()
    (leaf / "current").symlink_to("nowhere")


@pytest.mark.parametrize("damage", [_empty_key, _open_key, _lost_certificate, _broken_certificate, _dangling])
def test_a_damaged_leaf_is_replaced(bench: Bench, damage: Any) -> None:
    bench.authority()
    bench.issue()
    damage(bench.leaf)
    result = bench.issue()
    assert result["changed"]
    assert not bench.issue()["changed"]


def test_a_leaf_of_another_authority_is_replaced(bench: Bench) -> None:
    bench.authority()
    bench.issue()
    for path in bench.pki.iterdir():
        path.unlink()
    bench.authority()
    assert bench.issue()["leaves"][0]["reasons"][0] == "signed by another authority"


def test_an_authority_is_replaced_in_three_runs_with_both_trusted_on_the_way(bench: Bench) -> None:
    bench.authority()
    bench.issue()
    path = bench.pki / "ca.crt"
    old, new = path.read_text(), certificates.new_authority("next", now=datetime.now(UTC))

    path.write_text(certificates.trusted(old, new.certificate_pem))
    assert bench.issue()["leaves"][0]["reasons"] == ["ca.crt is not that of the authority"]
    assert certificates.inspect(bench.current("tls.crt")).issued_by(old)
    assert bench.current("ca.crt").count("BEGIN CERTIFICATE") == 2
    assert not bench.issue()["changed"]

    AuthorityFiles(bench.pki).write(new, PASSPHRASE)
    path.write_text(certificates.trusted(new.certificate_pem, old))
    assert "signed by another authority" in bench.issue()["leaves"][0]["reasons"]
    assert certificates.inspect(bench.current("tls.crt")).issued_by(new.certificate_pem)
    assert not bench.issue()["changed"]

    path.write_text(new.certificate_pem)
    assert bench.issue()["leaves"][0]["reasons"] == ["ca.crt is not that of the authority"]
    assert bench.current("ca.crt") == new.certificate_pem


def test_a_leaf_in_the_last_third_of_its_life_is_renewed(bench: Bench) -> None:
    bench.authority()
    bench.issue()
    past = datetime.now(UTC) - timedelta(hours=20)
    authority = certificates.new_authority("test authority", now=past)
    request = certificates.LeafRequest("h1", ("h1",), ("10.0.0.7",), frozenset({"server"}), days=1)
    leaf = certificates.issue(authority, request, past)
    AuthorityFiles(bench.pki).write(authority, PASSPHRASE)
    for name, text in (("tls.crt", leaf.certificate_pem), ("ca.crt", leaf.authority_pem)):
        (bench.leaf / "current" / name).write_text(text)
    (reason,) = bench.issue()["leaves"][0]["reasons"]
    assert "last third" in reason
    assert not bench.issue()["changed"]


def test_a_client_without_server_usage_has_no_names(bench: Bench) -> None:
    bench.authority()
    bench.issue(usages=["client"], common_name="pgbouncer")
    state = certificates.inspect(bench.current("tls.crt"))
    assert (state.common_name, state.dns_names, state.addresses) == ("pgbouncer", (), ())


def test_a_name_that_cannot_be_certified_names_the_leaf_and_changes_nothing(bench: Bench) -> None:
    bench.authority()
    with pytest.raises(PoolerError, match=f"leaf {bench.leaf}: 'no name!'"):
        bench.issue(names=["no name!"])
    assert not bench.leaf.exists()


@pytest.mark.parametrize("directory", ["relative/leaf", ""])
def test_a_directory_that_is_not_absolute_is_refused_before_the_host_is_reached(bench: Bench, directory: str) -> None:
    bench.authority()
    with pytest.raises(PoolerError, match=r"leaves\[0\]\.directory"):
        bench.issue(directory=directory)
    assert not bench.trips


def test_a_failed_placing_keeps_the_leaf_in_force(bench: Bench) -> None:
    bench.authority()
    serial = bench.issue()["leaves"][0]["serial"]
    execute = bench.execute

    def full_disk(command: str, data: bytes) -> Mapping[str, Any]:
        return execute(command.replace("set -e;", "set -e; sync() { return 1; };"), data)

    bench.execute = full_disk  # type: ignore[method-assign]
    with pytest.raises(HostError):
        bench.issue(names=["other.example"])
    assert (bench.leaf / "current").readlink() == Path(serial)
    bench.execute = execute  # type: ignore[method-assign]
    assert bench.issue(names=["other.example"])["changed"]
    assert (bench.leaf / "current").readlink() != Path(serial)


def test_removal_takes_leaves_and_nothing_else(bench: Bench) -> None:
    bench.authority()
    bench.issue()
    (bench.leaf / "notes").mkdir()
    assert bench.issue(state="absent", check=True)["changed"]
    assert (bench.leaf / "current").exists()
    assert bench.issue(state="absent")["changed"]
    assert [path.name for path in bench.leaf.iterdir()] == ["notes"]
    assert not bench.issue(state="absent")["changed"]


@pytest.mark.parametrize("key_type", ["rsa", "ed25519"])
def test_another_type_of_key_is_a_reason_to_issue(bench: Bench, key_type: str) -> None:
    bench.authority()
    bench.issue()
    changed = bench.issue(key_type=key_type)
    assert changed["leaves"][0]["reasons"] == [f"its key is ecdsa, not {key_type}"]
    assert not bench.issue(key_type=key_type)["changed"]
    key = certificates.serialization.load_pem_private_key((bench.leaf / "current" / "tls.key").read_bytes(), None)
    assert key_type in type(key).__name__.lower()


def elsewhere(days: int = 90, age: int = 0) -> dict[str, str]:
    """A leaf of a company's issuing authority, below its root."""
    now = datetime.now(UTC) - timedelta(days=age)
    root = certificates.new_authority("root", now=now)
    leaf = certificates.issue(root, certificates.LeafRequest("h1", ("h1.example",), days=days), now)
    return {
        "certificate": leaf.certificate_pem,
        "private_key": leaf.key_pem.decode(),
        "authority": root.certificate_pem,
    }


def test_a_leaf_that_somebody_else_has_issued_lies_there_as_ours_do_and_needs_no_authority(bench: Bench) -> None:
    given = elsewhere()
    first = bench.issue(brought=[given])
    assert (first["changed"], first["trips"]) == (True, 2)
    for name, text in (("tls.crt", "certificate"), ("ca.crt", "authority"), ("tls.key", "private_key")):
        assert bench.current(name).strip() == given[text].strip()
    assert not bench.issue(brought=[given], renew=True)["changed"]
    assert "PRIVATE" not in str(first)


def test_another_one_that_is_brought_takes_its_place(bench: Bench) -> None:
    bench.issue(brought=[elsewhere()])
    given = elsewhere()
    assert bench.issue(brought=[given])["leaves"][0]["reasons"] == ["another one was brought"]
    assert bench.current("tls.crt").strip() == given["certificate"].strip()


def test_a_brought_leaf_whose_files_were_touched_is_put_there_again(bench: Bench) -> None:
    given = elsewhere()
    bench.issue(brought=[given])
    (bench.leaf / "current" / "tls.key").unlink()
    assert bench.issue(brought=[given])["leaves"][0]["reasons"] == ["tls.key is missing"]
    assert bench.current("tls.key").strip() == given["private_key"].strip()


def test_the_end_of_a_brought_leaf_is_told_in_the_last_third_of_its_life(bench: Bench) -> None:
    assert not bench.issue(brought=[elsewhere(days=90, age=59)])["warnings"]
    assert "bring the next one" in bench.issue(brought=[elsewhere(days=90, age=61)])["warnings"][0]


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"private_key": elsewhere()["private_key"]}, "private_key: is not that of the certificate"),
        ({"private_key": "none"}, "private_key: is no private key"),
        ({"authority": elsewhere()["authority"]}, "authority: does not vouch for the certificate"),
        ({"directory": "/elsewhere"}, "/elsewhere is the directory of no leaf"),
        (elsewhere(days=30, age=31), "is valid from .* only"),
    ],
)
def test_a_brought_leaf_that_nobody_would_take_is_refused_before_the_host_is_touched(
    bench: Bench, wrong: dict[str, str], told: str
) -> None:
    with pytest.raises(PoolerError, match=told):
        bench.issue(brought=[elsewhere() | wrong])
    assert not bench.trips
