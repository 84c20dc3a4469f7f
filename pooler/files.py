"""A file as it is to lie on a host."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class File:
    """`owner` is a numeric user and group id; the content of a `secret` file is never shown in a diff."""

    path: str
    content: bytes = field(repr=False)
    mode: int = 0o644
    owner: int = 0
    secret: bool = False
