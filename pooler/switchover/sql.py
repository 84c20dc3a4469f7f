"""Direct connections to members of the cluster, as the agents' role: who takes writes, and what runs there."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import psycopg
from psycopg.conninfo import make_conninfo

from ..agent.config import AgentConfig
from ..errors import PoolerError
from ..server import Server
from .preconditions import Activity, Transaction

State = Literal["writable", "recovery", "silent"]

_SECONDS = 2
"""For connecting, and for one answer."""

_ACTIVITY = """
SELECT a.pid, a.usename, a.state, extract(epoch FROM clock_timestamp() - a.xact_start)::float8, l.virtualtransaction
  FROM pg_catalog.pg_stat_activity AS a
  LEFT JOIN pg_catalog.pg_locks AS l
    ON l.pid = a.pid AND l.locktype = 'virtualxid' AND l.virtualxid = l.virtualtransaction AND l.granted
 WHERE a.usesysid IS NOT NULL AND a.datid IS NOT NULL AND a.pid <> pg_backend_pid()
   AND (a.backend_type = 'client backend' OR a.backend_type IS NULL)
"""
"""Of sessions of roles that ours may not look at only process, role and database are shown. But everybody sees locks,
and each open transaction holds one on its own number."""


class Database:
    """One member, asked over a connection that is opened beforehand and again when it is lost.

    The members' own scripts can tell by `application`, the connection's name there, that something is planned.
    """

    def __init__(self, server: Server, config: AgentConfig, application: str, dbname: str | None = None) -> None:
        self.server = server
        leaf = config.client_leaf
        self._conninfo = make_conninfo(
            host=server.host,
            port=server.port,
            user=config.role,
            password=config.password,
            dbname=dbname or config.dbname,
            sslmode="verify-full",
            sslrootcert=str(Path(leaf, "ca.crt")),
            sslcert=str(Path(leaf, "tls.crt")),
            sslkey=str(Path(leaf, "tls.key")),
            connect_timeout=_SECONDS,
            tcp_user_timeout=_SECONDS * 1000,
            application_name=application,
            options=f"-c statement_timeout={_SECONDS * 1000}",
        )
        self._connection: psycopg.Connection | None = None

    def state(self) -> State:
        """Whether it takes writes now; silent when it does not answer."""
        try:
            return "recovery" if self._row("SELECT pg_catalog.pg_is_in_recovery()")[0] else "writable"
        except PoolerError:
            return "silent"

    def started(self) -> str:
        """When its postmaster was started, as a text to compare; empty when it does not answer."""
        try:
            return str(self._row("SELECT pg_catalog.pg_postmaster_start_time()")[0])
        except PoolerError:
            return ""

    def written(self) -> str:
        """The leader's position in the WAL. Raises PoolerError."""
        return str(self._row("SELECT pg_catalog.pg_current_wal_lsn()")[0])

    def replayed(self, position: str) -> bool:
        """Whether a replica has replayed the WAL up to there. Raises PoolerError."""
        return bool(self._row(f"SELECT pg_catalog.pg_last_wal_replay_lsn() >= '{position}'::pg_lsn")[0])

    def activity(self) -> Activity:
        """The open transactions of other sessions, as far as our role may see them. Raises PoolerError."""
        transactions, hidden = [], {}
        for pid, user, state, age, number in self._rows(_ACTIVITY):
            if state is not None and age is not None:
                transactions.append(Transaction(int(str(pid)), str(user), str(state), float(str(age))))
            elif state is None and number is not None:
                hidden[str(number)] = Transaction(int(str(pid)), str(user), "state not visible", 0.0)
        return Activity(tuple(transactions), hidden)

    def checkpoint(self) -> bool:
        """Write out what is dirty, so that a shutdown has little left to do; False when our role may not order it."""
        self._rows("SET statement_timeout = 0")
        try:
            self._rows("CHECKPOINT")
        except PoolerError as error:
            if not isinstance(error.__cause__, psycopg.errors.InsufficientPrivilege):
                raise
            return False
        finally:
            self._rows("RESET statement_timeout")
        return True

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _row(self, statement: str) -> tuple[object, ...]:
        return self._rows(statement)[0]

    def _rows(self, statement: str) -> list[tuple[object, ...]]:
        try:
            if self._connection is None:
                self._connection = psycopg.connect(self._conninfo, autocommit=True, prepare_threshold=None)
            cursor = self._connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []
        except psycopg.Error as error:
            # After a refusal it is kept: the member's own scripts look for it.
            if self._connection is not None and self._connection.closed:
                self.close()
            raise PoolerError(f"{self.server.host}:{self.server.port}: {str(error).strip()}") from error
