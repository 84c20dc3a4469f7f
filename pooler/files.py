"""A file as it is to lie on a host, and several of them in an archive."""

from __future__ import annotations

import gzip
import io
import tarfile
from collections.abc import Iterable
from dataclasses import dataclass, field


@dataclass(frozen=True)
class File:
    """`owner` is a numeric user and group id; the content of a `secret` file is never shown in a diff."""

    path: str
    content: bytes = field(repr=False)
    mode: int = 0o644
    owner: int = 0
    secret: bool = False


def packed(files: Iterable[File]) -> bytes:
    """A tar.gz to be unpacked in `/`. The same files are the same bytes."""
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for file in sorted(files, key=lambda each: each.path):
            entry = tarfile.TarInfo(file.path.lstrip("/"))
            entry.size, entry.mode, entry.uid, entry.gid = len(file.content), file.mode, file.owner, file.owner
            archive.addfile(entry, io.BytesIO(file.content))
    return gzip.compress(raw.getvalue(), mtime=0)
