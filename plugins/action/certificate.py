# Copyright: the pgfleet team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Certificates of a host: one exec to look, one to place what is due and look again."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ...pooler import certificates
from ...pooler.errors import InvalidError, PoolerError, Problem
from ..plugin_utils import leaves
from ..plugin_utils.action import PoolerAction
from ..plugin_utils.authority import AuthorityFiles
from ..plugin_utils.host import Answer, Host, HostError
from ..plugin_utils.leaves import FoundLeaf


@dataclass(frozen=True)
class _Wanted:
    directory: str
    owner: int
    request: certificates.LeafRequest


@dataclass(frozen=True)
class _Case:
    """A leaf as wanted, as it is, and why it must be issued; it serves on when there is no reason."""

    wanted: _Wanted
    found: FoundLeaf
    reasons: list[str]


class ActionModule(PoolerAction):
    secret = frozenset({"passphrase"})

    def perform(self, arguments: dict[str, Any]) -> dict[str, Any]:
        wanted = _wanted(arguments, self.host_name)
        host = self.host()
        if arguments["state"] == "absent":
            return self._remove(host, [leaf.directory for leaf in wanted])
        needed = ("authority_directory", "passphrase")
        if missing := [Problem(name, "is missing", "state=present needs it") for name in needed if not arguments[name]]:
            raise InvalidError(missing)
        return self._issue(
            host, wanted, AuthorityFiles(Path(arguments["authority_directory"])), arguments["passphrase"]
        )

    def _issue(self, host: Host, wanted: list[_Wanted], files: AuthorityFiles, passphrase: str) -> dict[str, Any]:
        now, authority = datetime.now(UTC), files.certificate()
        if authority is None and not self.check:
            raise PoolerError(f"{files.directory}: holds no authority (pgfleet.pooler.certificate_authority makes it)")
        look = leaves.read(leaf.directory for leaf in wanted)
        before = after = _cases(wanted, host.read(look), authority, now)
        due = [case.wanted for case in before if case.reasons]
        issued: dict[str, certificates.Leaf] = {}
        if due and authority is not None:
            signer = files.authority(passphrase)
            issued = {leaf.directory: _issued(signer, leaf, now) for leaf in due}
        if due and not self.check:
            placing = leaves.place((leaf.directory, issued[leaf.directory].serial_hex) for leaf in due)
            content = [
                file for leaf in due for file in leaves.files(leaf.directory, leaf.owner, issued[leaf.directory])
            ]
            answer = host.apply(placing + look, content)
            if answer.failed:
                raise HostError(f"{host.name}: {answer.failed}")
            after = _cases(wanted, answer, authority, now)
            if left := [f"{case.wanted.directory}: {why}" for case in after for why in case.reasons]:
                raise HostError(f"{host.name}: after the change, certificates are not as wanted:\n" + "\n".join(left))
        result = {
            "changed": bool(due),
            "leaves": [_result(was, now_is) for was, now_is in zip(before, after, strict=True)],
            "trips": host.trips,
        }
        diff = [_diff(case, issued.get(case.wanted.directory)) for case in before if case.reasons]
        return result | ({"diff": diff} if self.diff else {})

    def _remove(self, host: Host, directories: list[str]) -> dict[str, Any]:
        there = host.read(leaves.inventory(directories)).lines("leaves")
        if there and not self.check:
            answer = host.apply(leaves.remove(directories) + leaves.inventory(directories))
            if answer.failed:
                raise HostError(f"{host.name}: {answer.failed}")
            if left := answer.lines("leaves"):
                raise HostError(f"{host.name}: after the removal, there still is {', '.join(left)}")
        result: dict[str, Any] = {"changed": bool(there), "trips": host.trips}
        return result | ({"diff": {"before": "\n".join([*there, ""]), "after": ""}} if self.diff and there else {})


def _wanted(arguments: dict[str, Any], host_name: str) -> list[_Wanted]:
    found: list[_Wanted] = []
    problems = []
    for index, entry in enumerate(arguments["leaves"]):
        place, directory = f"leaves[{index}].directory", entry["directory"].rstrip("/")
        if not directory.startswith("/"):
            problems.append(
                Problem(place, f"{entry['directory']!r} is no absolute path", "such as /etc/pgbouncer/tls/server")
            )
        if directory in [leaf.directory for leaf in found]:
            problems.append(Problem(place, f"{directory} is that of another leaf", "give each leaf a directory"))
        names = entry["names"]
        if names is None:
            names = arguments["names"] if "server" in entry["usages"] else []
        request = certificates.LeafRequest(
            common_name=entry["common_name"] or host_name,
            dns_names=tuple(name for name in names if not _is_address(name)),
            addresses=tuple(name for name in names if _is_address(name)),
            usages=frozenset(entry["usages"]),
            days=arguments["days"],
        )
        found.append(_Wanted(directory, entry["owner"], request))
    if problems:
        raise InvalidError(problems)
    return found


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _cases(wanted: Sequence[_Wanted], answer: Answer, authority: str | None, now: datetime) -> list[_Case]:
    found = leaves.found(answer, len(wanted))
    return [
        _Case(leaf, there, _reasons(leaf, there, authority, now)) for leaf, there in zip(wanted, found, strict=True)
    ]


def _issued(signer: certificates.Authority, leaf: _Wanted, now: datetime) -> certificates.Leaf:
    try:
        return certificates.issue(signer, leaf.request, now)
    except InvalidError as error:
        place = f"leaf {leaf.directory}"
        raise InvalidError([Problem(place, problem.what, problem.remedy) for problem in error.problems]) from None


def _reasons(wanted: _Wanted, found: FoundLeaf, authority: str | None, now: datetime) -> list[str]:
    if not found.serial:
        return ["there is none"]
    reasons = found.trouble(wanted.owner)
    if authority is None:
        return [*reasons, "there is no authority yet"]
    state = found.state()
    if state is None:
        return reasons or ["tls.crt holds no certificate"]
    if why := certificates.due(state, wanted.request, authority, now):
        reasons.append(why)
    if found.authority.strip() != authority.strip():
        reasons.append("ca.crt is not that of the authority")
    return reasons


def _result(before: _Case, after: _Case) -> dict[str, Any]:
    state = after.found.state()
    return {
        "directory": before.wanted.directory,
        "changed": bool(before.reasons),
        "reasons": before.reasons,
        "serial": after.found.serial or None,
        "not_after": state.not_after.isoformat() if state else None,
    }


def _diff(case: _Case, issued: certificates.Leaf | None) -> dict[str, str]:
    before, after = case.found.state(), certificates.inspect(issued.certificate_pem) if issued else None
    return {
        "before": _text(before, before) if before else "",
        "after": _text(case.wanted.request, after) + f"issued because: {'; '.join(case.reasons)}\n",
        "before_header": f"{case.wanted.directory}/current",
        "after_header": f"{case.wanted.directory}/current",
    }


def _text(names: certificates.LeafState | certificates.LeafRequest, state: certificates.LeafState | None) -> str:
    """Serial and life are unknown as long as there is no authority."""
    text = (
        f"common name: {names.common_name}\n"
        f"names: {', '.join(sorted({*names.dns_names, *names.addresses})) or 'none'}\n"
        f"usages: {', '.join(sorted(names.usages))}\n"
    )
    if state is None:
        return text
    life = f"valid: {state.not_before.isoformat()} to {state.not_after.isoformat()}\n"
    return f"serial: {state.serial_hex}\n{text}{life}"
