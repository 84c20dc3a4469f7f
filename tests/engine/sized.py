"""A PostgreSQL and the instances that `pooler size` asks for in front of it, on the real engine."""

from __future__ import annotations

import contextlib
import secrets
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import psycopg

from pooler import bundle, scram, sizing, variables
from pooler.bundle import RUNTIME, Facts
from tests.engine import histories, trial
from tests.engine.miniature import TLS, Miniature, certified, miniature

ROLE = "postgres"
SOCKET = "/run/postgresql"
CONSOLE = 50001


@dataclass(frozen=True)
class Counted:
    """Seconds in which transactions held a server connection, and in which they waited for one."""

    transactions: int
    held: float
    waited: float


@dataclass
class Sized:
    """`direct` is the directory of PostgreSQL's socket, `pools` are those of the instances, by console port."""

    owner: psycopg.Connection[tuple[object, ...]]
    host: Miniature
    direct: Path
    pools: Mapping[int, Path]

    def serves(self, settings: Mapping[str, object], instances: int) -> None:
        """Start so many instances anew, with these settings; users come in by their socket without a password."""
        options = histories.PLAIN | {
            "patroni": None,
            "userlist_only": True,
            "instances": instances,
            "databases": [{"name": "app", "host": SOCKET}],
            "users": [{"name": ROLE, "verifier": scram.verifier(secrets.token_hex(8))}],
            "hba": ["local all all trust"],
            "settings": dict(settings),
        }
        pooler = variables.read(options)
        made = bundle.build(pooler, Facts(None, f"{TLS}/server/01", f"{TLS}/client/01"))
        self.host.fresh(made, *pooler.consoles)
        self.pools = {console: self.host.path(f"{RUNTIME}/{console}") for console in pooler.consoles}

    def open(self) -> int:
        """Connections that PostgreSQL has open to clients, this one not counted."""
        row = self.owner.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
        ).fetchone()
        assert row
        return int(str(row[0]))

    def counted(self, console: int = CONSOLE) -> Counted:
        """What the engine has counted so far for the database."""
        (row,) = (row for row in self.host.instances[console].show("STATS_TOTALS") if row["database"] == "app")
        transactions, held, waited = (int(row[name] or 0) for name in ("xact_count", "xact_time", "wait_time"))
        # To the engine a transaction begins with the wait for a server connection (seen on 1.24.1).
        return Counted(transactions, (held - waited) / 1e6, waited / 1e6)


@contextlib.contextmanager
def sized(max_connections: int) -> Iterator[Sized]:
    """Without an instance yet."""
    with tempfile.TemporaryDirectory(prefix="pgfleet-") as name:
        place = Path(name)
        with (
            trial.postgresql(place, options=("-h", "", "-c", f"max_connections={max_connections}")) as owner,
            miniature(place) as host,
        ):
            host.write(certified())
            owner.execute("CREATE DATABASE app")
            yield Sized(owner, host, place, {})


def settings_for(**numbers: object) -> tuple[dict[str, int], sizing.Sizes]:
    found = sizing.sizes(sizing.question(numbers))
    return dict(found.settings), found
