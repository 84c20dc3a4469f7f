# Copyright: the pgfleet team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""SQL for the PostgreSQL in a host's container. It goes in on standard input: never in an argument, never on a disk."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable
from typing import Any

from ...pooler import sql
from ...pooler.objects import Difference
from .host import Host, HostError


class NoContainerError(HostError):
    """The host has no such container; in check mode a role that comes earlier may still have to make it."""


def document(host: Host, container: str, database: str, statements: Iterable[str], query: str) -> dict[str, Any]:
    """Run the statements, each by itself and in order, then the query; gives the one JSON document that it returns.

    One trip. Raises HostError with PostgreSQL's words when one fails: what stands before it has happened.
    """
    text = "".join(f"{statement.rstrip().removesuffix(';')};\n" for statement in (*statements, query))
    answer = host.pipe(_script(container, database), text.encode())
    if answer.failed:
        error = HostError if answer.text("container") else NoContainerError
        raise error(f"{host.name}: {sql.masked(answer.failed)}")
    found: dict[str, Any] = json.loads(answer.lines("answer")[-1])
    return found


def diff(differences: Iterable[Difference], statements: Iterable[str]) -> list[dict[str, str]]:
    """What `--diff` shows: each property before and after, then the statements for it, with verifiers masked."""
    found = tuple(differences)
    if not found:
        return []
    before = "".join(f"{difference.what}: {difference.have}\n" for difference in found)
    after = "".join(f"{difference.what}: {difference.want}\n" for difference in found)
    return [
        {"before": before, "after": after, "before_header": "PostgreSQL", "after_header": "PostgreSQL"},
        {"prepared": "".join(f"{sql.masked(statement)}\n" for statement in statements)},
    ]


def _script(container: str, database: str) -> str:
    name = shlex.quote(container)
    return f"""
section container
podman container exists {name} || {{
  printf 'there is no container %s on this host: set the option container, or start it\\n' {name} >&2; exit 1
}}
echo present
section answer
podman exec --interactive --user postgres --env PGCLIENTENCODING=UTF8 {name} \\
  psql --no-psqlrc --no-align --tuples-only --quiet --set ON_ERROR_STOP=1 --dbname {shlex.quote(database)} --file -
"""
