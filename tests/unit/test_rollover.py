"""One authority takes over from another: what lies on the controller, and what a host gets, step by step."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.pgfleet.pooler.plugins.action import certificate_authority
from ansible_collections.pgfleet.pooler.plugins.plugin_utils.authority import AuthorityFiles
from ansible_collections.pgfleet.pooler.pooler import certificates
from ansible_collections.pgfleet.pooler.pooler.errors import PoolerError

PASSPHRASE = secrets.token_urlsafe(16)
NOW = datetime.now(UTC)
STEPS = ("trust", "reissue", "drop")


@pytest.fixture
def files(tmp_path: Path) -> AuthorityFiles:
    made = AuthorityFiles(tmp_path / "pki")
    take(made, "due")
    return made


def take(files: AuthorityFiles, step: str, *, check: bool = False) -> dict[str, Any]:
    action = certificate_authority.ActionModule.__new__(certificate_authority.ActionModule)
    action.check, action.diff = check, True
    result: dict[str, Any] = action.perform(
        {"directory": str(files.directory), "passphrase": PASSPHRASE, "common_name": "ours", "days": 30, "step": step}
    )
    return result


def leaf(files: AuthorityFiles) -> certificates.Leaf:
    return certificates.issue(files.authority(PASSPHRASE), certificates.LeafRequest("h1", ("h1",)), NOW)


def names(files: AuthorityFiles) -> set[str]:
    return {path.name for path in files.directory.iterdir()}


def test_in_no_step_anybody_is_refused_who_is_one_step_behind_or_ahead(files: AuthorityFiles) -> None:
    seen = [leaf(files)]
    for step in STEPS:
        assert take(files, step)["changed"]
        seen.append(leaf(files))
        before, after = seen[-2:]
        assert vouches(after.authority_pem, before), f"{step}: who has taken it refuses who has not"
        assert vouches(before.authority_pem, after), f"{step}: who has not taken it refuses who has"
    assert not vouches(seen[-1].authority_pem, seen[0])
    assert names(files) == {"ca.crt", "ca.key"}
    assert seen[-1].authority_pem.count("BEGIN") == 1


def vouches(bundle: str, shown: certificates.Leaf) -> bool:
    state = certificates.inspect(shown.certificate_pem)
    pems = [each + "-----END CERTIFICATE-----\n" for each in bundle.split("-----END CERTIFICATE-----\n") if each]
    return any(state.issued_by(pem) for pem in pems)


@pytest.mark.parametrize("step", STEPS)
def test_a_step_that_was_taken_changes_nothing(files: AuthorityFiles, step: str) -> None:
    for earlier in STEPS[: STEPS.index(step) + 1]:
        take(files, earlier)
    if step == "drop":
        assert not take(files, "drop")["changed"]
    else:
        assert not any(take(files, again)["changed"] for again in STEPS[: STEPS.index(step) + 1])


def test_no_step_is_left_out(files: AuthorityFiles) -> None:
    with pytest.raises(PoolerError, match="step: trust"):
        take(files, "reissue")
    take(files, "trust")
    with pytest.raises(PoolerError, match="reissue first"):
        take(files, "drop")


def test_check_mode_takes_no_step(files: AuthorityFiles) -> None:
    for step in STEPS:
        before = {path.name: path.read_bytes() for path in files.directory.iterdir()}
        assert take(files, step, check=True)["changed"]
        assert {path.name: path.read_bytes() for path in files.directory.iterdir()} == before
        take(files, step)


@pytest.mark.parametrize("broken", ["ca.key", "ca.crt", "next.crt"])
def test_a_step_that_was_broken_off_is_completed_before_anything_is_issued(
    files: AuthorityFiles, broken: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    take(files, "trust")
    following = files.next_certificate_path.read_text()
    put, unlink = AuthorityFiles._put, Path.unlink

    def cut_put(self: AuthorityFiles, path: Path, content: bytes, mode: int) -> None:
        if path.name == broken:
            raise KeyboardInterrupt
        put(self, path, content, mode)

    def cut_unlink(self: Path, missing_ok: bool = False) -> None:
        if self.name == broken:
            raise KeyboardInterrupt
        unlink(self, missing_ok)

    with monkeypatch.context() as cut:
        cut.setattr(AuthorityFiles, "_put", cut_put)
        cut.setattr(Path, "unlink", cut_unlink)
        with pytest.raises(KeyboardInterrupt):
            take(files, "reissue")
    again = take(files, "due")
    assert (again["changed"], again["stage"]) == (True, "reissued")
    assert certificates.inspect(leaf(files).certificate_pem).issued_by(following)


def test_an_authority_made_elsewhere_takes_over(files: AuthorityFiles) -> None:
    elsewhere = certificates.new_authority("company", now=NOW)
    files.next_certificate_path.write_text(elsewhere.certificate_pem)
    files.next_key_path.write_bytes(certificates.lock(elsewhere.key_pem, PASSPHRASE))
    assert take(files, "trust")["changed"]
    for step in ("reissue", "drop"):
        take(files, step)
    assert files.certificate() == elsewhere.certificate_pem


def test_a_next_authority_whose_key_is_another_ones_is_refused_before_it_is_trusted(files: AuthorityFiles) -> None:
    elsewhere, other = (certificates.new_authority(name, now=NOW) for name in ("a", "b"))
    files.next_certificate_path.write_text(elsewhere.certificate_pem)
    files.next_key_path.write_bytes(certificates.lock(other.key_pem, PASSPHRASE))
    with pytest.raises(PoolerError, match=r"next\.crt, next\.key: authority: the key is not that"):
        take(files, "trust")
    assert elsewhere.certificate_pem not in (files.certificate() or "")


def test_whom_the_operator_trusts_besides_stays_trusted(files: AuthorityFiles) -> None:
    third = certificates.new_authority("third", now=NOW).certificate_pem
    with files.certificate_path.open("a") as bundle:
        bundle.write(third)
    for step in STEPS:
        take(files, step)
    assert third in (files.certificate() or "")
