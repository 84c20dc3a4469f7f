"""Ignition configs, specification 3.3.0, which every Fedora CoreOS in use takes; and how they get into user data.

Ignition fetches by itself, before the first boot, from S3 with the role of the instance or by HTTPS: files, and a
config that replaces the one in the user data, which then is a pointer only.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from ..errors import PoolerError
from ..files import File
from .first_boot import Fetched, Tree

VERSION = "3.3.0"
USER_DATA_BYTES = 16384
"""What EC2 takes as user data, before it is encoded in Base64."""


@dataclass(frozen=True)
class Delivery:
    """`stored` is the config that has to lie at the URL that `user_data` points at; none when it points nowhere.

    `form` says how the config got in: plain, compressed or pointer.
    """

    user_data: str = field(repr=False)
    form: str
    stored: str | None = field(default=None, repr=False)


def render(tree: Tree) -> str:
    """One line of JSON. The same tree is the same text."""
    config: dict[str, Any] = {"ignition": {"version": VERSION}}
    if tree.authorized_keys:
        config["passwd"] = {"users": [{"name": "core", "sshAuthorizedKeys": list(tree.authorized_keys)}]}
    files = [_file(file) for file in tree.files]
    files += [
        {"path": path, "overwrite": True, "mode": 0o600, "contents": _resource(what)} for path, what in tree.fetched
    ]
    links = [{"path": path, "target": target, "overwrite": True} for path, target in tree.links]
    storage = {name: sorted(each, key=_path) for name, each in (("files", files), ("links", links)) if each}
    if storage:
        config["storage"] = storage
    return _text(config)


def deliver(config: str, url: str | None) -> Delivery:
    """The config as user data: as it is, or compressed, or at `url`. Raises PoolerError when it fits in no way."""
    if len(config.encode()) <= USER_DATA_BYTES:
        return Delivery(config, "plain")
    packed = _text(_replaced({"source": _packed(config.encode()), "compression": "gzip"}))
    if len(packed) <= USER_DATA_BYTES:
        return Delivery(packed, "compressed")
    if url is None:
        raise PoolerError(
            f"the config has {len(config.encode())} bytes, {len(packed)} when compressed, and user data takes "
            f"{USER_DATA_BYTES} (give config_url, such as s3://BUCKET/KEY, for it to be fetched from there)"
        )
    digest = hashlib.sha512(config.encode()).hexdigest()
    return Delivery(_text(_replaced(_resource(Fetched(url, digest)))), "pointer", config)


def _replaced(resource: Mapping[str, Any]) -> dict[str, Any]:
    return {"ignition": {"version": VERSION, "config": {"replace": resource}}}


def _resource(what: Fetched) -> dict[str, Any]:
    return {"source": what.url, "verification": {"hash": f"sha512-{what.sha512}"}}


def _file(file: File) -> dict[str, Any]:
    entry: dict[str, Any] = {"path": file.path, "overwrite": True, "mode": file.mode, "contents": _inline(file.content)}
    if file.owner:
        entry |= {"user": {"id": file.owner}, "group": {"id": file.owner}}
    return entry


def _inline(content: bytes) -> dict[str, Any]:
    """Whichever is shorter: percent-encoded, or gzip in Base64."""
    plain, packed = "data:," + quote(content, safe="/:=@,"), _packed(content)
    return {"source": plain} if len(plain) <= len(packed) else {"source": packed, "compression": "gzip"}


def _packed(content: bytes) -> str:
    return "data:;base64," + base64.b64encode(gzip.compress(content, compresslevel=9, mtime=0)).decode()


def _path(entry: Mapping[str, Any]) -> str:
    return str(entry["path"])


def _text(config: Mapping[str, Any]) -> str:
    return json.dumps(config, separators=(",", ":"), ensure_ascii=False)
