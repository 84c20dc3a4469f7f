"""Where a PostgreSQL server listens."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Server:
    """`host` is a name or an address; databases that follow the leader are given both."""

    host: str
    port: int = 5432

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"
