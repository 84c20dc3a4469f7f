"""What a userlist says of users who are gone, for as long as a process runs that has read of them.

No engine forgets a name before it ends: a rule that asks for no password lets a user in who has long been removed. And
PgBouncer from 1.25 on keeps what it has made of a user's line: who has logged in once goes on to log in by password,
until another line of that user is read. So a line that nobody can log in by takes the place of the user's own there,
and a comment elsewhere.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from . import userlist
from .model import Version

SINCE: Version = (1, 25, 0)
"""The first engine that keeps what it has made of a line."""

_NOTE = re.compile(r"gone((?: [0-9a-f]+)*)")
_COMMENT = re.compile(r'(?m)^;[^\S\n]*"((?:[^"\n]|"")*+)" (gone.*)$')


@dataclass(frozen=True)
class Tombstone:
    """`knowing` are the processes that have read of the user, by systemd's invocation ids.

    Nobody can log in by the verifier `secret`; without one the tombstone is a comment.
    """

    knowing: frozenset[str]
    secret: str = field(default="", repr=False)


@dataclass(frozen=True)
class Userlist:
    """`listed`: the secrets of users who are to log in, by name."""

    listed: Mapping[str, str] = field(default_factory=dict, repr=False)
    gone: Mapping[str, Tombstone] = field(default_factory=dict)


def render(listed: Mapping[str, str], gone: Mapping[str, Tombstone]) -> str:
    """A userlist of `name: secret` and of users who are gone. Raises InvalidError for what the file cannot say."""
    notes = {name: " ".join(("gone", *sorted(stone.knowing))) for name, stone in gone.items()}
    lines = {name: stone.secret for name, stone in gone.items() if stone.secret}
    comments = [f"; {userlist.quoted(name)} {notes[name]}\n" for name in sorted(gone) if name not in lines]
    return userlist.render({**listed, **lines}, {name: notes[name] for name in lines}) + "".join(comments)


def read(text: str) -> Userlist:
    """Who is listed and who is gone. Raises InvalidError where the engine would not read the file to its end."""
    listed, gone = {}, {}
    for name, (secret, note) in userlist.noted(text).items():
        if match := _NOTE.fullmatch(note):
            gone[name] = Tombstone(frozenset(match[1].split()), secret)
        else:
            listed[name] = secret
    for comment in _COMMENT.finditer(text):
        if match := _NOTE.fullmatch(comment[2]):
            gone.setdefault(comment[1].replace('""', '"'), Tombstone(frozenset(match[1].split())))
    return Userlist(listed, gone)
