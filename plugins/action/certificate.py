# Copyright: the pgfleet team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Certificates of a host: the authority, if asked for; one exec to look, one to place what is due and look again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ...pooler.errors import InvalidError, PoolerError, Problem
from ..plugin_utils.action import PoolerAction
from ..plugin_utils.host import Answer, Host, HostError

try:
    from ...pooler import certificates
    from ..plugin_utils import authority_steps, leaf_requests, leaves
    from ..plugin_utils.authority import AuthorityFiles
    from ..plugin_utils.leaf_requests import Wanted
    from ..plugin_utils.leaves import FoundLeaf
except ImportError as error:
    MISSING: ImportError | None = error
else:
    MISSING = None


@dataclass(frozen=True)
class _Case:
    """A leaf as wanted, as it is, and why it must be issued; it serves on when there is no reason."""

    wanted: Wanted
    found: FoundLeaf
    reasons: list[str]


class ActionModule(PoolerAction):
    secret = frozenset({"passphrase", "private_key"})
    missing = MISSING

    def perform(self, arguments: dict[str, Any]) -> dict[str, Any]:
        now = datetime.now(UTC)
        wanted = leaf_requests.wanted(arguments, self.host_name, now)
        host = self.host()
        if arguments["state"] == "absent":
            return self._remove(host, [leaf.directory for leaf in wanted])
        authority = self._authority(arguments, now)
        nothing = {"changed": False, "leaves": [], "trips": 0, "warnings": [], "diff": []}
        issued = self._issue(host, wanted, arguments, now) if wanted else nothing
        diff = ([authority["diff"]] if "diff" in authority else []) + issued.pop("diff")
        issued["changed"] = issued["changed"] or bool(authority.get("changed"))
        issued["warnings"] = [*authority.get("warnings", ()), *issued["warnings"]]
        return issued | ({"diff": diff} if self.diff else {})

    def _authority(self, arguments: dict[str, Any], now: datetime) -> dict[str, Any]:
        """What was done about the authority itself, if this task is to see to it."""
        if arguments["authority"] is None:
            return {}
        asked = authority_steps.Asked(arguments["passphrase"], **arguments["authority"])
        return authority_steps.bring_up(_files(arguments), asked, now, check=self.check)

    def _issue(self, host: Host, wanted: list[Wanted], arguments: dict[str, Any], now: datetime) -> dict[str, Any]:
        ours = any(leaf.brought is None for leaf in wanted)
        files = _files(arguments) if ours else None
        authority = files.certificate() if files else None
        if files and authority is None and not self.check:
            raise PoolerError(f"{files.directory}: holds no authority (pgfleet.pooler.certificate_authority makes it)")
        look = leaves.read(leaf.directory for leaf in wanted)
        before = after = _cases(wanted, host.read(look), authority, now)
        if arguments["renew"]:
            before = [
                case if case.wanted.brought else replace(case, reasons=case.reasons or ["asked for"]) for case in before
            ]
        due = [case.wanted for case in before if case.reasons]
        issued = {leaf.directory: leaf.brought for leaf in due if leaf.brought}
        if files and authority is not None and len(issued) < len(due):
            signer = files.authority(arguments["passphrase"])
            issued |= {leaf.directory: leaf_requests.issue(signer, leaf, now) for leaf in due if not leaf.brought}
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
        return {
            "changed": bool(due),
            "leaves": [_result(was, now_is) for was, now_is in zip(before, after, strict=True)],
            "trips": host.trips,
            "warnings": _ending(host, wanted, now),
            "diff": [_diff(case, issued.get(case.wanted.directory)) for case in before if case.reasons],
        }

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


def _files(arguments: dict[str, Any]) -> AuthorityFiles:
    needed = ("authority_directory", "passphrase")
    if missing := [Problem(name, "is missing", "state=present needs it") for name in needed if not arguments[name]]:
        raise InvalidError(missing)
    return AuthorityFiles(Path(arguments["authority_directory"]))


def _ending(host: Host, wanted: Sequence[Wanted], now: datetime) -> list[str]:
    """What nobody here can renew is told."""
    brought = {leaf.directory: certificates.inspect(leaf.brought.certificate_pem) for leaf in wanted if leaf.brought}
    return [
        f"{host.name}: the certificate for {directory} ends on {state.not_after:%Y-%m-%d}: bring the next one"
        for directory, state in brought.items()
        if state.in_last_third(now)
    ]


def _cases(wanted: Sequence[Wanted], answer: Answer, authority: str | None, now: datetime) -> list[_Case]:
    found = leaves.found(answer, len(wanted))
    return [
        _Case(leaf, there, leaf_requests.reasons(leaf, there, authority, now))
        for leaf, there in zip(wanted, found, strict=True)
    ]


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
        "after": _text(after if case.wanted.brought and after else case.wanted.request, after)
        + f"issued because: {'; '.join(case.reasons)}\n",
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
