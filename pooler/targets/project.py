"""The directory of a Compose project: what it keeps from one rendering to the next, and what is written into it.

compose.yml
ca.crt                     what clients trust
authority/ca.key           locked with a passphrase
passwords/NAME             of users for whom one was drawn; no container sees them
files/                     what the containers read, with certificates and verifiers
"""

from __future__ import annotations

import json
import secrets
import shutil
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from .. import certificates, objects, userlist
from ..certificates import Authority, Leaf, LeafRequest
from ..objects import Role
from ..prepare import Prepared
from . import compose, compose_model, manifest
from .compose_model import Project
from .compose_scripts import FILES

_KEY = "authority/ca.key"
_PREPARED = f"{FILES}/prepare/prepare.json"
_HEAD = "# Written by `pooler render compose`; what is changed here is gone with the next rendering.\n"


def write(given: Mapping[str, Any], directory: Path, passphrase: Callable[[], str]) -> list[Path]:
    """Bring the directory about; what is to be given to clients. `passphrase` is called when a leaf must be issued.

    Leaves, passwords and verifiers stay as they are as long as they are right. Raises PoolerError.
    """
    project = compose_model.read(given)
    directory.mkdir(parents=True, exist_ok=True)
    serials = _leaves(project, directory, passphrase)
    made = compose.build(project, serials, _verifiers(directory))
    files = compose.files(project, made, serials, _roles(project, directory))
    for file in files:
        _write(directory / FILES / file.path, file.content)
    _forget(directory / FILES / "pgbouncer/releases", made.release)
    text = _HEAD + manifest.text(compose.document(project, made, serials))
    _write(directory / "compose.yml", text.encode(), 0o644)
    return [directory / name for name in ("compose.yml", "ca.crt", *_given(project))]


def _leaves(project: Project, directory: Path, passphrase: Callable[[], str]) -> dict[str, str]:
    """The serial of each, a new one where it is time for it."""
    now, serials = datetime.now(UTC), {}
    wanted = compose.leaves(project)
    anew = {place: request for place, request in wanted.items() if not _in_force(directory, place, request, now)}
    if anew:
        authority = _authority(directory, passphrase(), now)
        for place, request in anew.items():
            shutil.rmtree(directory / FILES / place, ignore_errors=True)
            _lay(directory / FILES / place, certificates.issue(authority, request, now))
    for place in wanted:
        (serials[place],) = (each.name for each in (directory / FILES / place).iterdir())
    return serials


def _in_force(directory: Path, place: str, request: LeafRequest, now: datetime) -> bool:
    found = list((directory / FILES / place).glob("*/tls.crt"))
    root = directory / "ca.crt"
    if len(found) != 1 or not root.exists() or not found[0].with_name("tls.key").exists():
        return False
    state = certificates.inspect(found[0].read_text(), str(found[0]))
    return certificates.due(state, request, root.read_text(), now) is None


def _authority(directory: Path, passphrase: str, now: datetime) -> Authority:
    key, root = directory / _KEY, directory / "ca.crt"
    if key.exists():
        return Authority(root.read_text(), certificates.unlock(key.read_bytes(), passphrase))
    made = certificates.new_authority(directory.resolve().name[:40] or "pooler", now=now)
    _write(key, certificates.lock(made.key_pem, passphrase))
    _write(root, made.certificate_pem.encode(), 0o644)
    return made


def _lay(place: Path, leaf: Leaf) -> None:
    for name, content in (
        ("tls.crt", leaf.certificate_pem.encode()),
        ("tls.key", leaf.key_pem),
        ("ca.crt", leaf.authority_pem.encode()),
    ):
        _write(place / leaf.serial_hex / name, content)


def _verifiers(directory: Path) -> dict[str, str]:
    """Those that the instances know now."""
    found: dict[str, str] = {}
    for file in (directory / FILES / "pgbouncer/releases").glob("*/userlist.txt"):
        found |= userlist.parse(file.read_text(), name=str(file))
    return found


def _roles(project: Project, directory: Path) -> list[Role]:
    """With verifiers: no password goes into a container."""
    place = directory / _PREPARED
    known = {role.name: role.secret for role in Prepared.from_json(place.read_text()).roles} if place.exists() else {}
    roles = []
    for user in project.users:
        secret = user.secret or _drawn(directory / _password(user.name))
        roles.append(Role(user.name, objects.kept_verifier(secret, known.get(user.name))))
    return roles


def _drawn(place: Path) -> str:
    if not place.exists():
        _write(place, f"{secrets.token_urlsafe(24)}\n".encode())
    return place.read_text().rstrip("\n")


def _given(project: Project) -> list[str]:
    return [_password(user.name) for user in project.users if not user.secret]


def _password(name: str) -> str:
    """A file of the user's; names of roles may have characters that a file's name cannot."""
    plain = name.isascii() and name.replace("_", "").replace("-", "").isalnum()
    return f"passwords/{name if plain else json.dumps(name).encode().hex()}"


def _forget(releases: Path, kept: str) -> None:
    for old in releases.iterdir():
        if old.name != kept:
            shutil.rmtree(old)


def _write(place: Path, content: bytes, mode: int = 0o600) -> None:
    """By one rename. A secret is in no file that others can read, not even for a moment."""
    for directory in reversed([each for each in place.parents if not each.exists()]):
        directory.mkdir(mode=0o700 if mode == 0o600 else 0o755)
    fresh = place.with_name(f".{place.name}.new")
    fresh.unlink(missing_ok=True)
    fresh.touch(mode=mode)
    fresh.write_bytes(content)
    fresh.rename(place)
