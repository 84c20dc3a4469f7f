"""PgBouncer's admin console: one command, rows of text (psycopg, autocommit, simple protocol)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import psycopg

from .errors import PoolerError


@dataclass(frozen=True)
class Rows:
    """What a command answered: column names and rows of text; both empty for a command without rows."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def ask(conninfo: str, command: str, timeout: int = 5) -> Rows:
    """Send one command to the console at a libpq connection string, which names no database.

    The console takes one statement a query and no extended protocol, hence autocommit and no parameters.
    Raises PoolerError with the console's own words. `timeout`, in seconds, is for connecting.
    """
    try:
        with psycopg.connect(
            conninfo, dbname="pgbouncer", autocommit=True, connect_timeout=timeout, prepare_threshold=None
        ) as connection:
            cursor = psycopg.ClientCursor(connection)
            cursor.execute(command.encode())
            if cursor.description is None:
                return Rows((), ())
            columns = tuple(column.name for column in cursor.description)
            return Rows(columns, tuple(tuple("" if v is None else str(v) for v in row) for row in cursor.fetchall()))
    except psycopg.Error as error:
        raise PoolerError(str(error).strip()) from None


def table(rows: Rows) -> str:
    """Rows for a terminal, columns aligned."""
    lines: Sequence[Sequence[str]] = (rows.columns, *rows.rows)
    widths = [max(len(line[i]) for line in lines) for i in range(len(rows.columns))]
    return "\n".join(
        "  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )
