"""userlist.txt, both ways: `"name" "secret"` on a line, a double quote written twice, comments starting with `;`.

The engine stops at the first line it cannot read and every later user is locked out, while RELOAD still succeeds;
so what it would stumble over is an error here. Limits count the bytes as they are written, doubled quotes twice.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from .errors import InvalidError, Problem

NAME_BYTES = 127
SECRET_BYTES = 2047
"""PgBouncer 1.24.1 and 1.25.2; a release after them takes 65530."""

_SPACE = " \t\n\v\f\r"
_BREAK = re.compile(r"[\n\r\0]")
# Possessive: half of a doubled quote is never the end.
_QUOTED = re.compile(r'"((?:[^"]|"")*+)"')


def render(entries: Mapping[str, str], notes: Mapping[str, str] | None = None) -> str:
    """The file for `name: secret` (verifier or password), sorted by name. Raises InvalidError, never with a secret.

    `notes` is text of one line by name; it stands behind the secret, where the engine reads nothing.
    """
    problems = [problem for name, secret in entries.items() for problem in _problems(f"user {name!r}", name, secret)]
    if problems:
        raise InvalidError(problems)
    behind = {name: f" {note}" for name, note in (notes or {}).items()}
    return "".join(
        f"{quoted(name)} {quoted(secret)}{behind.get(name, '')}\n" for name, secret in sorted(entries.items())
    )


def quoted(text: str) -> str:
    """A name or a secret as the file has it."""
    return f'"{_escaped(text)}"'


def parse(text: str, *, name: str = "userlist.txt") -> dict[str, str]:
    """`name: secret` as the engine reads them; the last line of a user counts. Raises InvalidError with `name:line`."""
    return {user: secret for user, (secret, _note) in noted(text, name=name).items()}


def noted(text: str, *, name: str = "userlist.txt") -> dict[str, tuple[str, str]]:
    """By user the secret, and what stands behind it, mostly nothing. Raises InvalidError as `parse` does."""
    entries = {}
    problems = []
    for number, line in enumerate(text.split("\n"), start=1):
        line = line.lstrip(_SPACE)
        if not line or line.startswith(";"):
            continue
        try:
            user, secret, note = _entry(line)
        except _UnreadableError as unreadable:
            problems.append(Problem(f"{name}:{number}", unreadable.what, unreadable.remedy))
        else:
            problems += _problems(f"{name}:{number}", user, secret)
            entries[user] = secret, note
    if problems:
        raise InvalidError(problems)
    return entries


class _UnreadableError(Exception):
    def __init__(self, what: str, remedy: str) -> None:
        super().__init__(what)
        self.what = what
        self.remedy = remedy


def _entry(line: str) -> tuple[str, str, str]:
    """The two quoted texts of a line, and what stands behind them, of which the engine takes no notice."""
    if line.startswith("#"):
        raise _UnreadableError("the engine reads no further than a line with #", "comments start with ;")
    name = _QUOTED.match(line)
    if name is None:
        raise _UnreadableError("no name in double quotes; the engine reads no further", 'expected "name" "secret"')
    # Without a secret here the engine would take the next line's name for one.
    start = line.find('"', name.end())
    secret = _QUOTED.match(line, start) if start >= 0 else None
    if secret is None:
        raise _UnreadableError("no secret in double quotes behind the name", 'expected "name" "secret" on one line')
    return name[1].replace('""', '"'), secret[1].replace('""', '"'), line[secret.end() :].strip(_SPACE)


def _problems(place: str, name: str, secret: str) -> list[Problem]:
    problems = []
    for what, text, limit in (("name", name, NAME_BYTES), ("secret", secret, SECRET_BYTES)):
        size = len(_escaped(text).encode("utf-8", "surrogateescape"))
        if size > limit:
            remedy = f"at most {limit}, double quotes counting twice; every later user would be locked out"
            problems.append(Problem(place, f"the {what} has {size} bytes", remedy))
        if _BREAK.search(text):
            problems.append(
                Problem(place, f"the {what} holds a line break or a NUL", "the file has no way to write it")
            )
    if not name:
        problems.append(Problem(place, "the name is empty"))
    return problems


def _escaped(text: str) -> str:
    return text.replace('"', '""')
