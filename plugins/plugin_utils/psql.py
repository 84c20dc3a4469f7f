# Copyright: the pgfleet team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Changes to the PostgreSQL in a host's container: audit, change what differs, audit again.

SQL goes in on standard input: never in an argument, never on a disk.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ...pooler import sql
from ...pooler.objects import Difference
from .host import Host, HostError

Observed = Mapping[str, Any]


class NoContainerError(HostError):
    """The host has no such container; in check mode a role that comes earlier may still have to make it."""


@dataclass(frozen=True)
class Goal:
    """What is to be in a database: the query that looks at it, what differs, and the statements that end it.

    `audit` returns one JSON document, with `in_recovery` in it; the functions take that document. No statements: it is
    as wanted. Each statement is run by itself and in order.
    """

    database: str
    audit: str
    differences: Callable[[Observed], Sequence[Difference]]
    statements: Callable[[Observed], Sequence[str]]


def reach(goal: Goal, host: Host, container: str, *, check: bool, diff: bool) -> dict[str, Any]:
    """Bring the database to its goal when it takes writes; gives the result of the action.

    One trip when nothing differs, on a replica and in check mode; two otherwise. Raises HostError and InvalidError.
    """
    try:
        before = _document(goal, host, container)
    except NoContainerError as error:
        if not check:
            raise
        return _result(host) | {"warnings": [str(error)]}
    if before["in_recovery"]:
        return _result(host)
    differences, statements = goal.differences(before), goal.statements(before)
    if statements and not check:
        after = _document(goal, host, container, statements)
        if goal.statements(after):
            left = "\n".join(map(str, goal.differences(after)))
            raise HostError(f"{host.name}: after the change, the database still differs:\n{left}")
    result = _result(host, leader=True, differences=differences, statements=statements)
    return result | ({"diff": _diff(differences, statements)} if diff and statements else {})


def _document(goal: Goal, host: Host, container: str, statements: Sequence[str] = ()) -> Observed:
    """Run the statements, then the audit. What stands before a statement that fails has happened."""
    text = "".join(f"{statement.rstrip().removesuffix(';')};\n" for statement in (*statements, goal.audit))
    answer = host.pipe(_script(container, goal.database), text.encode())
    if answer.failed:
        error = NoContainerError if answer.text("container") == "missing" else HostError
        raise error(f"{host.name}: {sql.masked(answer.failed)}")
    document: Observed = json.loads(answer.lines("answer")[-1])
    return document


def _script(container: str, database: str) -> str:
    name = shlex.quote(container)
    return f"""
section container
state=$(podman container inspect --format '{{{{.State.Status}}}}' {name} 2>/dev/null) || state=missing
echo "$state"
[ "$state" = running ] || {{
  printf 'the container %s is %s: start it, or name another with the option container\\n' {name} "$state" >&2; exit 1
}}
section answer
podman exec --interactive --user postgres --env PGCLIENTENCODING=UTF8 {name} \\
  psql --no-psqlrc --no-align --tuples-only --quiet --set ON_ERROR_STOP=1 --dbname {shlex.quote(database)} --file -
"""


def _result(
    host: Host, *, leader: bool = False, differences: Iterable[Difference] = (), statements: Sequence[str] = ()
) -> dict[str, Any]:
    return {
        "changed": bool(statements),
        "leader": leader,
        "differences": [str(difference) for difference in differences],
        "sql": [sql.masked(statement) for statement in statements],
        "trips": host.trips,
    }


def _diff(differences: Sequence[Difference], statements: Iterable[str]) -> list[dict[str, str]]:
    """Each property before and after, then the statements, with verifiers masked."""
    before = "".join(f"{difference.what}: {difference.have}\n" for difference in differences)
    after = "".join(f"{difference.what}: {difference.want}\n" for difference in differences)
    return [
        {"before": before, "after": after, "before_header": "PostgreSQL", "after_header": "PostgreSQL"},
        {"prepared": "".join(f"{sql.masked(statement)}\n" for statement in statements)},
    ]
