# Copyright: the pgfleet team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The config of a host's first boot. Nothing but the controller is touched."""

from __future__ import annotations

import hashlib
import os
import re
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ...pooler import bundle, observed, userlist, variables
from ...pooler.errors import InvalidError, PoolerError, Problem
from ...pooler.files import File, packed
from ...pooler.model import Pooler
from ...pooler.targets import butane, first_boot, ignition
from ...pooler.targets.first_boot import Fetched, FirstBoot, Tree
from ..plugin_utils.action import PoolerAction

try:
    from ..plugin_utils import leaf_requests, leaves
    from ..plugin_utils.authority import AuthorityFiles
    from ..plugin_utils.leaf_requests import Wanted
    from ..plugin_utils.leaves import FoundLeaf
except ImportError as error:
    MISSING: ImportError | None = error
else:
    MISSING = None

_NEEDED = ("directory", "authority_directory", "passphrase")


@dataclass(frozen=True)
class _Secrets:
    """The archive that holds them, why it differs from the one on the controller, and where that lies."""

    archive: bytes
    why: list[str]
    place: Path


class ActionModule(PoolerAction):
    secret = frozenset({"pgbouncer", "passphrase"})
    missing = MISSING

    def perform(self, arguments: dict[str, Any]) -> dict[str, Any]:
        pooler = variables.read(arguments["pgbouncer"])
        boot = first_boot.read(arguments, pooler)
        _check_urls(arguments)
        if arguments["secrets_url"] is None:
            tree = first_boot.waiting(pooler, boot)
            return {"changed": False, "secrets": None} | _delivered(tree, arguments["config_url"])
        public, secrets = self._serving(pooler, boot, arguments)
        if secrets.why and not self.check:
            _write(secrets.place, secrets.archive)
        there = Fetched(arguments["secrets_url"], hashlib.sha512(secrets.archive).hexdigest())
        result = {
            "changed": bool(secrets.why),
            "secrets": _address(there.url) | {"src": str(secrets.place), "sha512": there.sha512},
        }
        if self.diff and secrets.why:
            result["diff"] = {"before": "", "after": "".join(f"{why}\n" for why in secrets.why)}
        return result | _delivered(first_boot.with_secrets(public, there), arguments["config_url"])

    def _serving(self, pooler: Pooler, boot: FirstBoot, arguments: Mapping[str, Any]) -> tuple[Tree, _Secrets]:
        if missing := [Problem(name, "is missing", "secrets_url needs it") for name in _NEEDED if not arguments[name]]:
            raise InvalidError(missing)
        place = Path(arguments["directory"], f"{self.host_name}.secrets.tar.gz")
        before = place.read_bytes() if place.exists() else b""
        kept = _contents(place, before)
        given = {**arguments, "leaves": leaf_requests.of_instances(pooler)}
        wanted = leaf_requests.wanted(given, self.host_name, datetime.now(UTC))
        certified, why = _leaves(wanted, kept, AuthorityFiles(Path(arguments["authority_directory"])), arguments)
        server, client = (f"{path.removesuffix('current')}{serial}" for path, serial in certified.links)
        facts = bundle.Facts(
            leader=boot.leader,
            server_leaf=server,
            client_leaf=client,
            verifiers=_verifiers(kept),
        )
        public, secret = first_boot.serving(pooler, boot, facts, certified)
        archive = packed(secret)
        if archive != before and not why:
            why = ["the files of the poolers have changed" if before else "there was none"]
        return public, _Secrets(archive, why, place)


def _check_urls(arguments: Mapping[str, Any]) -> None:
    given = [name for name in ("secrets_url", "config_url") if arguments[name] is not None]
    if problems := [problem for name in given for problem in first_boot.url_problems(name, arguments[name])]:
        raise InvalidError(problems)


def _delivered(tree: Tree, url: str | None) -> dict[str, Any]:
    delivery = ignition.deliver(ignition.render(tree), url)
    stored = None
    if delivery.stored is not None and url is not None:
        stored = _address(url) | {"content": delivery.stored}
    return {
        "user_data": delivery.user_data,
        "form": delivery.form,
        "object": stored,
        "butane": butane.render(tree),
    }


def _address(url: str) -> dict[str, str]:
    found = re.fullmatch(r"s3://([^/]+)/(.+)", url)
    return {"url": url} | ({"bucket": found[1], "key": found[2]} if found else {})


def _leaves(
    wanted: list[Wanted], kept: Mapping[str, bytes], files: AuthorityFiles, arguments: Mapping[str, Any]
) -> tuple[Tree, list[str]]:
    """The certificates, and why there are new ones among them; those of the last run stay as long as they serve."""
    authority, now = files.certificate(), datetime.now(UTC)
    if authority is None:
        raise PoolerError(f"{files.directory}: holds no authority (pgfleet.pooler.certificate_authority makes it)")
    content: list[File] = []
    links, why = [], []
    for leaf in wanted:
        found = _kept(leaf, kept)
        if reasons := leaf_requests.reasons(leaf, found, authority, now):
            issued = leaf_requests.issue(files.authority(arguments["passphrase"]), leaf, now)
            content += leaves.files(leaf.directory, leaf.owner, issued)
            links.append((f"{leaf.directory}/current", issued.serial_hex))
            why.append(f"{leaf.directory} is issued: {'; '.join(reasons)}")
        else:
            content += [
                File(
                    f"{leaf.directory}/{found.serial}/{name}",
                    kept[f"{leaf.directory}/{found.serial}/{name}"],
                    mode,
                    owner,
                )
                for name, (owner, mode, _size) in found.files.items()
            ]
            links.append((f"{leaf.directory}/current", found.serial))
    return Tree(tuple(content), tuple(links)), why


def _kept(leaf: Wanted, kept: Mapping[str, bytes]) -> FoundLeaf:
    """The leaf as the last run has made it, which is how it lies on the host."""
    places = [path for path in kept if re.fullmatch(re.escape(leaf.directory) + r"/[0-9a-f]+/tls\.crt", path)]
    if not places:
        return FoundLeaf("", "", "", {})
    directory = places[0].rpartition("/")[0]
    there = {name: kept[f"{directory}/{name}"] for name in leaves.MODES if f"{directory}/{name}" in kept}
    return FoundLeaf(
        serial=directory.rpartition("/")[2],
        certificate=there["tls.crt"].decode(),
        authority=there.get("ca.crt", b"").decode(),
        files={name: (leaf.owner, leaves.MODES[name], len(text)) for name, text in there.items()},
    )


def _verifiers(kept: Mapping[str, bytes]) -> dict[str, str]:
    found = [text for path, text in kept.items() if path.endswith("/userlist.txt")]
    return userlist.parse(found[0].decode(), name="userlist.txt") if found else {}


def _contents(place: Path, archive: bytes) -> dict[str, bytes]:
    """What the last run has put there, by path."""
    try:
        return {path: file.content for path, file in observed.files(archive).items()}
    except (OSError, tarfile.TarError):
        raise PoolerError(f"{place}: is not an archive of ours (remove it, and it is made anew)") from None


def _write(place: Path, archive: bytes) -> None:
    try:
        place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft = place.with_name(f".{place.name}.new")
        draft.unlink(missing_ok=True)
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(archive)
        draft.replace(place)
    except OSError as error:
        raise PoolerError(f"{place}: cannot be written: {error.strerror}") from None
