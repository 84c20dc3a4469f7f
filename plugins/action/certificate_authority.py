# Copyright: the pgfleet team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A certificate authority on the controller; the host is not reached."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ...pooler.errors import PoolerError
from ..plugin_utils.action import PoolerAction

try:
    from ...pooler import certificates
    from ..plugin_utils.authority import AuthorityFiles
except ImportError as error:
    MISSING: ImportError | None = error
else:
    MISSING = None

_WORDS = {
    "settled": "",
    "trusted": "the next authority is trusted besides and issues nothing yet: once every client has this ca.crt, "
    "pgfleet.pooler.rotate_certificates takes the step `reissue`",
    "reissued": "the next authority issues, and the one before it is still trusted: once every certificate is of the "
    "next one, pgfleet.pooler.rotate_certificates takes the step `drop`",
}


class ActionModule(PoolerAction):
    secret = frozenset({"passphrase"})
    missing = MISSING

    def perform(self, arguments: dict[str, Any]) -> dict[str, Any]:
        files = AuthorityFiles(Path(arguments["directory"]))
        if self.check:
            return self._make(files, arguments)
        with files.alone():
            return self._make(files, arguments)

    def _make(self, files: AuthorityFiles, arguments: dict[str, Any]) -> dict[str, Any]:
        now, found = datetime.now(UTC), files.certificate()
        if found is None:
            return self._first(files, arguments, now)
        files.plain_key(arguments["passphrase"])
        step, stage = arguments["step"], files.stage
        if files.half:
            # Broken off in its midst, and to be done before anything is issued.
            step = "reissue" if files.old_path.exists() else "trust"
        why = _due(step, stage, found, files.half, now)
        if not why:
            return {"changed": False} | _described(found, files, now)
        if not self.check:
            self._take(step, stage, files, arguments, now)
        path = str(files.certificate_path)
        diff = {"before": _names(found), "before_header": path, "after_header": f"{path} ({why})"}
        if self.check:
            return {"changed": True, "diff": diff | {"after": f"{_names(found)}{why}\n"}}
        after = files.certificate() or ""
        return {"changed": True, "diff": diff | {"after": _names(after)}} | _described(after, files, now)

    def _first(self, files: AuthorityFiles, arguments: dict[str, Any], now: datetime) -> dict[str, Any]:
        if arguments["step"] != "due":
            raise PoolerError(
                f"{files.directory}: holds no authority that could be replaced (step: {arguments['step']})"
            )
        made = certificates.new_authority(arguments["common_name"], days=arguments["days"], now=now)
        if not self.check:
            files.write(made, arguments["passphrase"])
        shown = certificates.inspect(made.certificate_pem)
        after = f"common name: {shown.common_name}\nends: {shown.not_after.isoformat()}\n"
        path = str(files.certificate_path)
        result = {"changed": True, "diff": {"before": "", "after": after, "before_header": path, "after_header": path}}
        return result if self.check else result | _described(made.certificate_pem, files, now)

    def _take(self, step: str, stage: str, files: AuthorityFiles, arguments: dict[str, Any], now: datetime) -> None:
        if step == "reissue":
            files.reissue(arguments["passphrase"], now)
        elif step == "drop":
            files.drop()
        else:
            name = f"{arguments['common_name'][:53]} {now:%Y-%m-%d}"
            following = (
                None if stage == "trusted" else certificates.new_authority(name, days=arguments["days"], now=now)
            )
            files.trust(following, arguments["passphrase"], now)


def _due(step: str, stage: str, authority: str, half: bool, now: datetime) -> str:
    """Why the step changes something, or an empty text. Raises PoolerError for one that comes too early."""
    if half:
        return "what was broken off is completed"
    if step == "due":
        state = certificates.inspect(authority)
        late = stage == "settled" and state.in_last_third(now)
        return f"the authority ends on {state.not_after:%Y-%m-%d}, so the next one is trusted besides" if late else ""
    if step == "trust":
        return "the next authority is trusted besides" if stage == "settled" else ""
    if step == "reissue":
        if stage == "settled":
            raise PoolerError("there is no next authority that could issue (step: trust makes it)")
        return "the next authority issues" if stage == "trusted" else ""
    if stage == "trusted":
        raise PoolerError(
            "the next authority issues nothing yet, so the old one cannot be dropped (step: reissue first)"
        )
    return "the old authority is no longer trusted" if stage == "reissued" else ""


def _described(certificate: str, files: AuthorityFiles, now: datetime) -> dict[str, Any]:
    path, stage = files.certificate_path, files.stage
    state = certificates.inspect(certificate, str(path))
    result = {
        "certificate": certificate,
        "fingerprint": state.fingerprint_sha256,
        "not_after": state.not_after.isoformat(),
        "stage": stage,
    }
    if now >= state.not_after:
        return result | {"warnings": [f"{path}: the authority has ended on {state.not_after:%Y-%m-%d}"]}
    return result | ({"warnings": [f"{path}: {_WORDS[stage]}"]} if _WORDS[stage] else {})


def _names(bundle: str) -> str:
    """Who is in it, one a line, the one that issues first."""
    pems = bundle.replace("-----END CERTIFICATE-----\n", "-----END CERTIFICATE-----\n\0").split("\0")
    states = [certificates.inspect(pem) for pem in pems if pem.strip()]
    return "".join(f"{each.common_name}, until {each.not_after:%Y-%m-%d}\n" for each in states)
