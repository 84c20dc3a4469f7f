# Copyright: the pgfleet team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Changes to a database: audit, change what differs, audit again; over a host, or over TCP."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from ...pooler import sql
from ...pooler.errors import PoolerError
from ...pooler.objects import Difference

Observed = Mapping[str, Any]


class NothingThereError(PoolerError):
    """There is no database yet; in check mode a role that comes earlier may still have to make it."""


class DatabaseError(PoolerError):
    """The database, or the way to it, says no."""


@dataclass(frozen=True)
class Changes:
    """What differs, and the statements that end it: each is run by itself and in order. None: it is as wanted."""

    differences: Sequence[Difference]
    statements: Sequence[str]


_NOTHING = Changes((), ())


@dataclass(frozen=True)
class Goal:
    """What is to be in a database: the query that looks at it, and what is to change.

    `audit` returns one JSON document, with `in_recovery` in it; the functions take that document. `remarks` are what a
    person should know besides.
    """

    database: str
    audit: str
    changes: Callable[[Observed], Changes]
    remarks: Callable[[Observed], Sequence[str]] = lambda _observed: ()


class Place(Protocol):
    """A way to the databases of a cluster. `name` is for messages, `trips` how many times it was gone."""

    @property
    def name(self) -> str: ...

    @property
    def trips(self) -> int: ...

    def ask(self, database: str, audit: str, statements: Sequence[str] = ()) -> Observed:
        """Run the statements, then the audit. What stands before a statement that fails has happened.

        Raises PoolerError, with no secret in it.
        """


def reach(goal: Goal, place: Place, *, check: bool, diff: bool) -> dict[str, Any]:
    """Bring the database to its goal when it takes writes; gives the result of the action.

    One trip when nothing differs, on a replica and in check mode; two otherwise. Raises PoolerError.
    """
    try:
        before = place.ask(goal.database, goal.audit)
    except NothingThereError as error:
        if not check:
            raise
        return _result(place, [str(error)])
    remarks = [f"{place.name}: {remark}" for remark in goal.remarks(before)]
    if before["in_recovery"]:
        return _result(place, remarks)
    changes = goal.changes(before)
    if changes.statements and not check:
        left = goal.changes(place.ask(goal.database, goal.audit, changes.statements))
        if left.statements:
            words = "\n".join(map(str, left.differences))
            raise DatabaseError(f"{place.name}: after the change, the database still differs:\n{words}")
    result = _result(place, remarks, changes, leader=True)
    return result | ({"diff": _diff(changes)} if diff and changes.statements else {})


def _result(
    place: Place, warnings: Sequence[str], changes: Changes = _NOTHING, *, leader: bool = False
) -> dict[str, Any]:
    result = {
        "changed": bool(changes.statements),
        "leader": leader,
        "differences": [str(difference) for difference in changes.differences],
        "sql": [sql.masked(statement) for statement in changes.statements],
        "trips": place.trips,
    }
    return result | ({"warnings": list(warnings)} if warnings else {})


def _diff(changes: Changes) -> list[dict[str, str]]:
    """Each property before and after, then the statements, with verifiers masked."""
    before = "".join(f"{difference.what}: {difference.have}\n" for difference in changes.differences)
    after = "".join(f"{difference.what}: {difference.want}\n" for difference in changes.differences)
    return [
        {"before": before, "after": after, "before_header": "PostgreSQL", "after_header": "PostgreSQL"},
        {"prepared": "".join(f"{sql.masked(statement)}\n" for statement in changes.statements)},
    ]
