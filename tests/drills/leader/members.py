"""The database servers that are watched, and how they are asked."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Members:
    """`addresses` by name. `certificate` and `key` are what Patroni is shown."""

    addresses: dict[str, str]
    user: str
    password: str = field(repr=False)
    database: str
    ca: str
    certificate: str
    key: str
