"""An image in an OCI archive: its identity, and its bytes in pieces."""

from __future__ import annotations

import hashlib
import json
import tarfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from .errors import PoolerError

PIECE = 4 * 1024 * 1024
"""Bytes sent to a host at once: small enough to show progress, large enough that a round trip does not matter."""


def image_id(archive: Path) -> str:
    """The image's id as podman shows it (the digest of its configuration). Raises PoolerError for anything else."""
    try:
        with tarfile.open(archive) as tar:
            index = _member(tar, "index.json")
            manifest = _member(tar, _blob(index["manifests"][0]["digest"]))
            return str(manifest["config"]["digest"]).removeprefix("sha256:")
    except (OSError, tarfile.TarError, KeyError, IndexError, ValueError) as error:
        raise PoolerError(f"{archive}: is not an OCI archive of one image ({error})") from None


def pieces(archive: Path) -> Iterator[bytes]:
    """The archive's bytes, in order."""
    with archive.open("rb") as file:
        while piece := file.read(PIECE):
            yield piece


def built_name(image: str, files: Iterable[tuple[str, bytes]]) -> str:
    """Of the archive: another one exactly when the image has another name, or a file that it is built from changes."""
    digest = hashlib.sha256(f"{image}\0".encode())
    for name, content in sorted(files):
        digest.update(f"{name}\0{len(content)}\0".encode())
        digest.update(content)
    return f"pooler-{digest.hexdigest()[:12]}.tar"


def _member(tar: tarfile.TarFile, name: str) -> Any:
    content = tar.extractfile(name)
    if content is None:
        raise KeyError(name)
    return json.load(content)


def _blob(digest: str) -> str:
    return "blobs/" + digest.replace(":", "/")
