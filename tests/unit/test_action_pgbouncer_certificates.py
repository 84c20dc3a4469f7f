"""Certificates that the task of the instances issues itself: told with what follows, and placed after refusals."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.pgfleet.pooler.plugins.action import pgbouncer
from ansible_collections.pgfleet.pooler.plugins.plugin_utils import host as room
from ansible_collections.pgfleet.pooler.plugins.plugin_utils import leaf_requests
from ansible_collections.pgfleet.pooler.plugins.plugin_utils.authority import AuthorityFiles
from ansible_collections.pgfleet.pooler.pooler import certificates, variables
from ansible_collections.pgfleet.pooler.pooler.agent.config import PAUSE
from ansible_collections.pgfleet.pooler.pooler.errors import InvalidError

from tests.bench import simulated

PASSPHRASE = secrets.token_urlsafe(16)
OPTIONS = simulated.fleet(2, 1, 1)
NAMES = ["pool1", "10.0.0.7"]


class Host(simulated.Host):
    """Shows leaves that the authority has issued so many days ago."""

    def __init__(self, pki: Path, age: int = 0, marks: str = "") -> None:
        super().__init__()
        self.converge(OPTIONS)
        now = datetime.now(UTC) - timedelta(days=age)
        files = AuthorityFiles(pki)
        if files.certificate() is None:
            pki.mkdir()
            files.write(certificates.new_authority("test", days=3650, now=now - timedelta(days=1)), PASSPHRASE)
        given = options(pki) | {"leaves": leaf_requests.of_instances(variables.read(OPTIONS))}
        for number, leaf in enumerate(leaf_requests.wanted(given, "pool1", now)):
            issued = leaf_requests.issue(files.authority(PASSPHRASE), leaf, now)
            self._sections |= {
                f"serial {number}": issued.serial_hex,
                f"certificate {number}": issued.certificate_pem,
                f"authority {number}": issued.authority_pem,
                f"files {number}": "tls.crt 6432 644 1\ntls.key 6432 600 1\nca.crt 6432 644 1",
            }
        self._sections["marks"] = marks


def options(pki: Path, **changes: Any) -> dict[str, Any]:
    defaults = {name: option.get("default") for name, option in spec().items()}
    return (
        defaults
        | {"names": NAMES, "authority_directory": str(pki), "passphrase": PASSPHRASE, "authority": None}
        | changes
    )


def spec() -> Mapping[str, Any]:
    found: Mapping[str, Any] = pgbouncer.ActionModule.spec["certificates"]["options"]
    return found


def perform(reached: room.Host, given: Mapping[str, Any], *, check: bool = True) -> dict[str, Any]:
    action = pgbouncer.ActionModule.__new__(pgbouncer.ActionModule)
    action.check, action.diff, action.host_name = check, True, "pool1"
    pooler = variables.read(OPTIONS)
    result: dict[str, Any] = action._present(reached, pooler, {}, action._certificates(pooler, given))
    return result


def test_leaves_that_serve_on_cost_nothing_but_the_one_look(tmp_path: Path) -> None:
    result = perform(room.Host("pool1", Host(tmp_path / "pki").execute), options(tmp_path / "pki"))
    assert (result["changed"], result["trips"], result["diff"]) == (False, 1, [])
    assert [leaf["changed"] for leaf in result["leaves"]] == [False, False]


def test_check_mode_tells_what_a_renewal_does_to_the_instances(tmp_path: Path) -> None:
    result = perform(room.Host("pool1", Host(tmp_path / "pki", age=300).execute), options(tmp_path / "pki"))
    assert (result["changed"], result["trips"], result["effect"]) == (True, 1, "recycle")
    assert [leaf["changed"] for leaf in result["leaves"]] == [True, True]
    assert "issued because" in result["diff"][0]["after"]
    assert any("client_tls_cert_file" in effect["what"] for effect in result["effects"])


def test_what_is_refused_is_refused_before_a_certificate_is_placed(tmp_path: Path) -> None:
    host = room.Host("pool1", Host(tmp_path / "pki", age=300, marks=PAUSE).execute)
    with pytest.raises(room.HostError, match="the agent holds the clients"):
        perform(host, options(tmp_path / "pki"), check=False)
    assert host.trips == 1


def test_in_check_mode_there_need_be_no_authority_yet(tmp_path: Path) -> None:
    given = options(tmp_path / "none", authority={"common_name": "x", "days": 3650, "step": "due"})
    result = perform(room.Host("pool1", Host(tmp_path / "pki").execute), given)
    assert result["changed"]
    assert not (tmp_path / "none").exists()


def test_a_wrong_option_is_named_with_its_place(tmp_path: Path) -> None:
    given = options(
        tmp_path,
        authority_directory=None,
        brought=[{"directory": "/a", **dict.fromkeys(spec()["brought"]["options"], "")}],
    )
    with pytest.raises(InvalidError) as caught:
        perform(room.Host("pool1", simulated.Host().execute), given)
    assert all(problem.place.startswith("certificates.") for problem in caught.value.problems)


def test_the_options_are_those_of_the_module_that_issues() -> None:
    assert {"names", "days", "brought", "authority", "passphrase"} <= {*spec()}
    assert not {"state", "leaves"} & {*spec()}
    assert spec()["passphrase"]["no_log"]
    assert spec()["brought"]["options"]["private_key"]["no_log"]
