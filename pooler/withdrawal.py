"""Who is to leave the userlist, and who still uses them: what has to be known before a login is withdrawn."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from . import scram
from .model import User

ASKED = "SOCKETS"
"""The SHOW command that tells of clients, also of those that are just logging in, and of server connections."""

_TOLD = 10
"""So many uses are spelled out in a message."""


@dataclass(frozen=True)
class Use:
    """A connection of a user: a client's to an instance, or an instance's to PostgreSQL."""

    instance: int
    user: str
    kind: Literal["client", "server"]
    database: str
    address: str
    application: str

    def __str__(self) -> str:
        who = f" ({self.application})" if self.application else ""
        place = f"{'from' if self.kind == 'client' else 'to'} {self.address}{who}"
        return f"instance {self.instance}: {self.kind} connection of {self.user} {place}, database {self.database}"


def leaving(
    wanted: Iterable[User], withdrawn: Iterable[str], in_force: Mapping[str, str], own: Iterable[str]
) -> tuple[str, ...]:
    """The names that a change of the userlist would put out: gone from it, with another secret, or `withdrawn`.

    `in_force` is the userlist as `name: secret`; `own` are lines of ours, which are no affair of the inventory.
    """
    users = {user.name: user for user in wanted if user.listed}
    listed = (name for name in set(in_force) - set(own) if not _stays(users.get(name), in_force[name]))
    return tuple(sorted({*listed, *withdrawn}))


def uses(names: Iterable[str], sockets: Mapping[int, Sequence[Mapping[str, str]]]) -> tuple[Use, ...]:
    """The connections of these users, clients first, by the rows of SHOW SOCKETS of each instance."""
    known = frozenset(names)
    found = [
        Use(
            instance,
            row["user"],
            "client" if row["type"] == "C" else "server",
            row["database"],
            row["addr"],
            row.get("application_name", ""),
        )
        for instance, rows in sorted(sockets.items())
        for row in rows
        if row["user"] in known
    ]
    return tuple(sorted(found, key=lambda use: (use.kind, use.user)))


def told(found: Iterable[Use]) -> str:
    """In lines for people; equal ones are counted."""
    counted = Counter(map(str, found))
    lines = [f"{text}{f', {count} times' if count > 1 else ''}" for text, count in list(counted.items())[:_TOLD]]
    more = len(counted) - len(lines)
    return "\n".join([*lines, *([f"and {more} more"] if more else [])])


def _stays(user: User | None, secret: str) -> bool:
    if user is None:
        return False
    if user.password is not None:
        return scram.is_verifier(secret) and scram.verifies(secret, user.password)
    return secret == (user.verifier or "")
