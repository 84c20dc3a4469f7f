# Copyright: the pgfleet team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""An authority is made, or taken a step towards the next one, and what a task then says of it."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from ...pooler import certificates
from ...pooler.errors import PoolerError
from .authority import AuthorityFiles

_WORDS = {
    "settled": "",
    "trusted": "the next authority is trusted besides and issues nothing yet: once every client has this ca.crt, "
    "pgfleet.pooler.rotate_certificates takes the step `reissue`",
    "reissued": "the next authority issues, and the one before it is still trusted: once every certificate is of the "
    "next one, pgfleet.pooler.rotate_certificates takes the step `drop`",
}


@dataclass(frozen=True)
class Asked:
    """`common_name` and `days` of life are those of an authority to be made; `step`: due, trust, reissue or drop."""

    passphrase: str = field(repr=False)
    common_name: str
    days: int
    step: str


def bring_up(files: AuthorityFiles, asked: Asked, now: datetime, *, check: bool) -> dict[str, Any]:
    """`changed`, a `diff` where something changes, and the authority that is there then. Raises PoolerError."""
    with nullcontext() if check else files.alone():
        found = files.certificate()
        if found is None:
            return _first(files, asked, now, check=check)
        files.plain_key(asked.passphrase)
        step = asked.step
        if files.half:
            # Broken off in its midst, and to be done before anything is issued.
            step = "reissue" if files.old_path.exists() else "trust"
        why = _due(step, files, found, now)
        if not why:
            return {"changed": False} | _described(found, files, now)
        path = str(files.certificate_path)
        diff = {"before": _names(found), "before_header": path, "after_header": f"{path} ({why})"}
        if check:
            return {"changed": True, "diff": diff | {"after": f"{_names(found)}{why}\n"}}
        _take(step, files, asked, now)
        after = files.certificate() or ""
        return {"changed": True, "diff": diff | {"after": _names(after)}} | _described(after, files, now)


def _first(files: AuthorityFiles, asked: Asked, now: datetime, *, check: bool) -> dict[str, Any]:
    if asked.step != "due":
        raise PoolerError(f"{files.directory}: holds no authority that could be replaced (step: {asked.step})")
    made = certificates.new_authority(asked.common_name, days=asked.days, now=now)
    shown = certificates.inspect(made.certificate_pem)
    after = f"common name: {shown.common_name}\nends: {shown.not_after.isoformat()}\n"
    path = str(files.certificate_path)
    result = {"changed": True, "diff": {"before": "", "after": after, "before_header": path, "after_header": path}}
    if check:
        return result
    files.write(made, asked.passphrase)
    return result | _described(made.certificate_pem, files, now)


def _take(step: str, files: AuthorityFiles, asked: Asked, now: datetime) -> None:
    if step == "reissue":
        files.reissue(asked.passphrase, now)
    elif step == "drop":
        files.drop()
    else:
        name = f"{asked.common_name[:53]} {now:%Y-%m-%d}"
        following = None if files.stage == "trusted" else certificates.new_authority(name, days=asked.days, now=now)
        files.trust(following, asked.passphrase, now)


def _due(step: str, files: AuthorityFiles, authority: str, now: datetime) -> str:
    """Why the step changes something, or an empty text. Raises PoolerError for one that comes too early."""
    if files.half:
        return "what was broken off is completed"
    stage = files.stage
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
