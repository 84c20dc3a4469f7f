# Copyright: the pgfleet team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The leaves of one host become what a task asks for: one look decides, one exec places what is due and looks again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from ...pooler import certificates
from ...pooler.errors import InvalidError, PoolerError, Problem
from . import authority_steps, leaf_requests, leaves
from .authority import AuthorityFiles
from .host import Answer, Host, HostError
from .leaf_requests import Wanted
from .leaves import FoundLeaf


@dataclass(frozen=True)
class _Case:
    """A leaf as wanted, as it is, and why it must be issued; it serves on when there is no reason."""

    wanted: Wanted
    found: FoundLeaf
    reasons: list[str]


class LeafChange:
    """The leaves that one task wants on one host: `compare`, with the answer to a script that has `look` in it; `place`
    when something is `due`; `result`.

    `arguments` are options of pgfleet.pooler.certificate. What they ask of the authority is done at once, and in check
    mode only told. Raises PoolerError.
    """

    def __init__(self, arguments: Mapping[str, Any], wanted: Sequence[Wanted], now: datetime, *, check: bool) -> None:
        self.look = leaves.read(leaf.directory for leaf in wanted)
        self._wanted, self._now = wanted, now
        self._renew, self._passphrase = arguments["renew"], arguments["passphrase"]
        self._authority = _bring_up(arguments, now, check=check)
        self._files = _files(arguments) if any(leaf.brought is None for leaf in wanted) else None
        self._trusted = self._files.certificate() if self._files else None
        if self._files and self._trusted is None and not check:
            raise PoolerError(
                f"{self._files.directory}: holds no authority (pgfleet.pooler.certificate_authority makes it)"
            )
        self._before: list[_Case] = []
        self._after: list[_Case] = []
        self._issued: dict[str, certificates.Leaf] = {}
        self._placed = False

    @property
    def due(self) -> bool:
        """Whether there is something to place."""
        return not self._placed and bool(self._due)

    def compare(self, answer: Answer) -> None:
        """Decide what is due and issue it, once: what has been placed is never due again."""
        if self._placed:
            return
        self._before = self._after = self._cases(answer)
        if self._renew:
            self._before = [
                case if case.wanted.brought else replace(case, reasons=case.reasons or ["asked for"])
                for case in self._before
            ]
        due = [case.wanted for case in self._due]
        self._issued = {leaf.directory: leaf.brought for leaf in due if leaf.brought}
        if self._files and self._trusted is not None and len(self._issued) < len(due):
            signer = self._files.authority(self._passphrase)
            self._issued |= {
                leaf.directory: leaf_requests.issue(signer, leaf, self._now) for leaf in due if not leaf.brought
            }

    def place(self, host: Host, then: str = "") -> Answer:
        """Bring what is due to the host; gives what it says now, also to the script `then`.

        Raises HostError when it is not as wanted.
        """
        due = [case.wanted for case in self._due]
        placing = leaves.place((leaf.directory, self._issued[leaf.directory].serial_hex) for leaf in due)
        content = [
            file for leaf in due for file in leaves.files(leaf.directory, leaf.owner, self._issued[leaf.directory])
        ]
        answer = host.apply(placing + self.look + then, content)
        if answer.failed:
            raise HostError(f"{host.name}: {answer.failed}")
        self._after = self._cases(answer)
        if left := [f"{case.wanted.directory}: {why}" for case in self._after for why in case.reasons]:
            raise HostError(f"{host.name}: after the change, certificates are not as wanted:\n" + "\n".join(left))
        self._placed = True
        return answer

    def new(self, directory: str) -> str:
        """The directory of the files of a leaf that this change issues; empty when it issues none there."""
        return f"{directory}/{self._issued[directory].serial_hex}" if directory in self._issued else ""

    def result(self, host_name: str) -> dict[str, Any]:
        """`changed`, `leaves`, `warnings`, and the list `diff`."""
        return {
            "changed": bool(self._due) or bool(self._authority.get("changed")),
            "leaves": [_result(was, now_is) for was, now_is in zip(self._before, self._after, strict=True)],
            "warnings": [*self._authority.get("warnings", ()), *_ending(host_name, self._wanted, self._now)],
            "diff": [
                *([self._authority["diff"]] if "diff" in self._authority else []),
                *(_diff(case, self._issued.get(case.wanted.directory)) for case in self._due),
            ],
        }

    @property
    def _due(self) -> list[_Case]:
        return [case for case in self._before if case.reasons]

    def _cases(self, answer: Answer) -> list[_Case]:
        found = leaves.found(answer, len(self._wanted))
        return [
            _Case(leaf, there, leaf_requests.reasons(leaf, there, self._trusted, self._now))
            for leaf, there in zip(self._wanted, found, strict=True)
        ]


def _bring_up(arguments: Mapping[str, Any], now: datetime, *, check: bool) -> dict[str, Any]:
    """What was done about the authority itself, if this task is to see to it."""
    if arguments["authority"] is None:
        return {}
    asked = authority_steps.Asked(arguments["passphrase"], **arguments["authority"])
    return authority_steps.bring_up(_files(arguments), asked, now, check=check)


def _files(arguments: Mapping[str, Any]) -> AuthorityFiles:
    needed = ("authority_directory", "passphrase")
    if missing := [Problem(name, "is missing", "state=present needs it") for name in needed if not arguments[name]]:
        raise InvalidError(missing)
    return AuthorityFiles(Path(arguments["authority_directory"]))


def _ending(host_name: str, wanted: Sequence[Wanted], now: datetime) -> list[str]:
    """What nobody here can renew is told."""
    brought = {leaf.directory: certificates.inspect(leaf.brought.certificate_pem) for leaf in wanted if leaf.brought}
    return [
        f"{host_name}: the certificate for {directory} ends on {state.not_after:%Y-%m-%d}: bring the next one"
        for directory, state in brought.items()
        if state.in_last_third(now)
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
