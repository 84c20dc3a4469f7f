"""pgbouncer.ini, both ways: what is written is what the engine will mean, what is read is what it means to the engine.

The grammar is PgBouncer's own (1.24.1, run and read) and looks more like other INI files than it is:

- A comment starts a line; after a value `;` and `#` are part of it. Values of [pgbouncer] are never quoted.
- The name of a database or user is written bare, `[A-Za-z0-9_.*-]`, and on engines from 1.25 also in single quotes.
- In a connect string blanks separate, tabs do not; a value in single quotes writes a quote twice; none can be empty.
- A second [pgbouncer] header sets every setting with a default back to it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from . import settings
from .errors import InvalidError, Problem
from .settings import Version

QUOTED_NAMES: Version = (1, 25, 0)
"""The first engine that takes names in single quotes."""

DATABASE_BYTES = 63
USER_BYTES = 127
PEERS = 65535
"""Peer ids run from 1 to this."""

_SPACE = " \t\n\v\f\r"
_BREAK = re.compile(r"[\n\r\0]")
_BARE = re.compile(r"[A-Za-z0-9_.*-]+")
_BARE_VALUE = re.compile(r"[A-Za-z0-9_.,:/@%+*~-]+")
_QUOTED_NAME = re.compile(r"'([^'\n]*)'")
_CONNECT_KEY = re.compile(r"[^= ]+")
# Possessive: the engine never goes back and takes half of a doubled quote for the end.
_QUOTED_VALUE = re.compile(r"'((?:[^']|'')*+)'")
_INCLUDE = re.compile(r"%include[ \t]")
_ENTRY_SECTIONS = ("databases", "users", "peers")
_NOUN = {"databases": "database", "users": "user", "peers": "peer"}


@dataclass(frozen=True)
class Ini:
    """A pgbouncer.ini. Values are the engine's texts, unquoted; entries are connect strings taken apart.

    `includes` are paths of files that the engine reads last, inside [databases].
    """

    pgbouncer: dict[str, str] = field(default_factory=dict)
    databases: dict[str, dict[str, str]] = field(default_factory=dict, repr=False)  # may hold passwords
    users: dict[str, dict[str, str]] = field(default_factory=dict)
    peers: dict[str, dict[str, str]] = field(default_factory=dict)
    includes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Line:
    """Something that the engine acts on. `number` counts from 1; `key` and `value` are empty for a section header."""

    number: int
    kind: Literal["section", "entry", "include"]
    section: str
    key: str = ""
    value: str = field(default="", repr=False)


def render(ini: Ini, *, comment: str = "", version: Version = settings.ENGINE) -> str:
    """The file, sorted, with one [pgbouncer] header. Raises InvalidError for what the engine cannot be told."""
    problems = _problems(ini, version)
    if problems:
        raise InvalidError(problems)
    lines = [f"; {line}".rstrip() for line in comment.splitlines()]
    lines.append("[pgbouncer]")
    lines += [_assignment(name, text) for name, text in sorted(ini.pgbouncer.items())]
    for section, entries in (("users", ini.users), ("peers", ini.peers)):
        if entries:
            lines += ["", *_section(section, entries)]
    if ini.databases or ini.includes:
        lines += ["", *_section("databases", ini.databases), *(f"%include {path}" for path in ini.includes)]
    return "\n".join(lines) + "\n"


def render_databases(databases: Mapping[str, Mapping[str, str]], *, version: Version = settings.ENGINE) -> str:
    """A file of databases only, with its own header, to be included by another."""
    problems = _entry_problems("databases", databases, version)
    if problems:
        raise InvalidError(problems)
    return "\n".join(_section("databases", databases)) + "\n"


def parse(text: str, *, name: str = "pgbouncer.ini", version: Version = settings.ENGINE) -> Ini:
    """What the engine would make of the file, `%include`d files left aside. Raises InvalidError with `name:line`.

    A file without [pgbouncer] is taken too: it may be one that another includes. Peer ids become plain decimal numbers.
    """
    lines, problems = read(text, name=name, version=version)
    found = Ini()
    includes: list[str] = []
    pgbouncer: dict[str, str] = {}
    for line in lines:
        place = f"{name}:{line.number}"
        if line.kind == "include":
            includes.append(line.value)
        elif line.kind == "section":
            if line.section == "pgbouncer":
                pgbouncer = {key: text for key, text in pgbouncer.items() if _survives_header(key, version)}
        elif line.section == "pgbouncer":
            wrong = settings.refused("pgbouncer", line.key, line.value, version)
            if wrong:
                problems.append(Problem(place, wrong.what, wrong.remedy))
            else:
                pgbouncer[line.key] = line.value
        else:
            entry, wrongs = _entry(line, version)
            problems += [Problem(place, wrong.what, wrong.remedy) for wrong in wrongs]
            key = str(int(line.key)) if line.section == "peers" and line.key.isdecimal() else line.key
            getattr(found, line.section)[key] = entry
    if problems:
        raise InvalidError(problems)
    return Ini(pgbouncer, found.databases, found.users, found.peers, tuple(includes))


def read(text: str, *, name: str, version: Version = settings.ENGINE) -> tuple[list[Line], list[Problem]]:
    """The file's lines as the engine takes them apart, up to the first that it cannot, which is the problem."""
    lines: list[Line] = []
    try:
        for line in _scan(text, version):
            lines.append(line)
    except _UnreadableError as unreadable:
        return lines, [Problem(f"{name}:{unreadable.number}", unreadable.what, unreadable.remedy)]
    return lines, []


def connect_pairs(text: str) -> list[tuple[str, str]] | None:
    """The `key=value` pairs of a connect string in their order, or None when the engine finds a syntax error."""
    pairs = []
    at = _skip(text, 0, " ")
    while at < len(text):
        key = _CONNECT_KEY.match(text, at)
        if key is None:
            return None
        at = _skip(text, key.end(), " ")
        if at == len(text) or text[at] != "=":
            return None
        at = _skip(text, at + 1, " ")
        quoted = _QUOTED_VALUE.match(text, at)
        if quoted:
            value, at = quoted[1].replace("''", "'"), quoted.end()
        elif text.startswith("'", at):
            return None
        else:
            end = text.find(" ", at)
            end = len(text) if end < 0 else end
            value, at = text[at:end], end
        if not value:
            return None
        pairs.append((key[0], value))
        # One character after a value is dropped, whatever it is.
        at = _skip(text, at + 1, " ")
    return pairs


def misshapen(line: Line) -> list[Problem]:
    """What is wrong with an entry of [databases], [users] or [peers] besides its single settings; without a place."""
    problems = _name_problems(line.section, line.key, "")
    pairs = connect_pairs(line.value)
    whose = f"{_NOUN[line.section]} {line.key!r}"
    if pairs is None:
        remedy = "key=value, separated by spaces; values with spaces in single quotes, none empty"
        problems.append(Problem("", f"syntax error in the settings of {whose}", remedy))
    elif line.section == "peers" and "host" not in dict(pairs):
        problems.append(Problem("", f"{whose} has no host", "the directory of its unix socket, or an address"))
    return problems


class _UnreadableError(Exception):
    def __init__(self, number: int, what: str, remedy: str = "") -> None:
        super().__init__(what)
        self.number = number
        self.what = what
        self.remedy = remedy


def _scan(text: str, version: Version) -> Iterator[Line]:
    """Goes through the text by position, as the engine does: what follows a header may stand on the same line."""
    if "\0" in text:
        raise _UnreadableError(
            text.count("\n", 0, text.index("\0")) + 1, "a NUL character", "the engine stops reading there"
        )
    if text.startswith("\ufeff"):
        raise _UnreadableError(1, "a byte order mark", "save the file as UTF-8 without one")
    section = ""
    number, counted = 1, 0
    at = _skip(text, 0, _SPACE)
    while at < len(text):
        number, counted = number + text.count("\n", counted, at), at
        end = _end_of_line(text, at)
        if _INCLUDE.match(text, at):
            path = text[at + len("%include") : end].lstrip(" \t").rstrip(_SPACE)
            if not path:
                raise _UnreadableError(number, "an %include without a path")
            yield Line(number, "include", section, value=path)
        elif text[at] in "#;":
            pass
        elif text[at] == "[":
            close = text.find("]", at, end)
            if close < 0:
                raise _UnreadableError(number, "a section header without a closing bracket")
            section = text[at + 1 : close]
            _insist_on_section(section, number, version)
            yield Line(number, "section", section)
            end = close + 1
        else:
            key, value = _key_and_value(text[at:end], number, version)
            if not section:
                raise _UnreadableError(number, f"{key!r} stands before any section", "start with [pgbouncer]")
            yield Line(number, "entry", section, key, value)
        at = _skip(text, end, _SPACE)


def _key_and_value(line: str, number: int, version: Version) -> tuple[str, str]:
    bare = _BARE.match(line)
    quoted = _QUOTED_NAME.match(line) if version >= QUOTED_NAMES else None
    at = _skip(line, quoted.end() if quoted else bare.end() if bare else 0, " \t")
    key = quoted[1] if quoted else bare[0] if bare else ""
    if not line.startswith("=", at) or not key:
        what = "neither `name = value` nor a section, a comment or an include"
        raise _UnreadableError(number, what, _hint(line, version))
    return key, line[at + 1 :].lstrip(" \t").rstrip(_SPACE)


def _hint(line: str, version: Version) -> str:
    if line.startswith("="):
        return "the name is missing"
    if version < QUOTED_NAMES:
        since = settings.spelled(QUOTED_NAMES)
        return f"before PgBouncer {since} a name holds only letters, digits and _.*- and has no quotes"
    return "a name with other characters than letters, digits and _.*- goes in single quotes, and cannot hold one"


def _insist_on_section(section: str, number: int, version: Version) -> None:
    if section not in settings.SECTIONS:
        known = ", ".join(f"[{name}]" for name in settings.SECTIONS)
        raise _UnreadableError(number, f"[{section}] is not a section", f"one of {known}")
    since = settings.get("peers", "host").since
    if section == "peers" and version < since:
        raise _UnreadableError(number, f"[peers] needs PgBouncer {settings.spelled(since)}")


def _entry(line: Line, version: Version) -> tuple[dict[str, str], list[Problem]]:
    """The settings of one database, user or peer, and what the engine would not take, as problems without a place."""
    problems = misshapen(line)
    pairs = connect_pairs(line.value) or []
    for key, value in pairs:
        wrong = settings.refused(line.section, key, value, version)
        if wrong:
            problems.append(Problem("", f"{_NOUN[line.section]} {line.key!r}: {wrong.what}", wrong.remedy))
    return dict(pairs), problems


def _name_problems(section: str, name: str, place: str) -> list[Problem]:
    size = len(name.encode("utf-8", "surrogateescape"))
    if section == "databases" and name == "pgbouncer":
        return [Problem(place, "the database name 'pgbouncer' is reserved for the console", "choose another name")]
    if section == "databases" and size > DATABASE_BYTES:
        return [Problem(place, f"the database name {name!r} has {size} bytes", f"at most {DATABASE_BYTES}")]
    if section == "users" and size > USER_BYTES:
        return [Problem(place, f"the user name {name!r} has {size} bytes", f"at most {USER_BYTES}")]
    if section == "peers" and not (re.fullmatch(r"[0-9]{1,9}", name, re.ASCII) and 1 <= int(name) <= PEERS):
        return [Problem(place, f"the peer id {name!r} is not a number from 1 to {PEERS}")]
    return []


def _survives_header(name: str, version: Version) -> bool:
    """The engine knows no default for these, so a second [pgbouncer] header leaves them alone."""
    return settings.get("pgbouncer", name).default_for(version) is None


def _section(section: str, entries: Mapping[str, Mapping[str, str]]) -> list[str]:
    return [
        f"[{section}]",
        *(_assignment(_name(name), _connect_string(entry)) for name, entry in sorted(entries.items())),
    ]


def _assignment(name: str, text: str) -> str:
    return f"{name} = {text}" if text else f"{name} ="


def _name(name: str) -> str:
    return name if _BARE.fullmatch(name) else f"'{name}'"


def _connect_string(entry: Mapping[str, str]) -> str:
    return " ".join(f"{key}={_connect_value(value)}" for key, value in sorted(entry.items()))


def _connect_value(value: str) -> str:
    return value if _BARE_VALUE.fullmatch(value) else "'" + value.replace("'", "''") + "'"


def _problems(ini: Ini, version: Version) -> list[Problem]:
    """What cannot be written so that the engine reads it back as it is here."""
    problems = []
    for name, text in ini.pgbouncer.items():
        place = f"pgbouncer.{name}"
        wrong = settings.refused("pgbouncer", name, text, version)
        if wrong:
            problems.append(Problem(place, wrong.what, wrong.remedy))
        elif _breaks(text):
            problems.append(Problem(place, "holds a line break or a NUL", "the file has no way to write it"))
        elif text != text.strip(_SPACE):
            problems.append(Problem(place, "starts or ends with a blank", "the engine would cut it off"))
    for section in _ENTRY_SECTIONS:
        problems += _entry_problems(section, getattr(ini, section), version)
    for path in ini.includes:
        if _breaks(path) or path != path.strip(_SPACE) or not path.startswith("/"):
            problems.append(Problem("includes", f"{path!r} cannot be included", "an absolute path on one line"))
    return problems


def _entry_problems(section: str, entries: Mapping[str, Mapping[str, str]], version: Version) -> list[Problem]:
    problems = []
    for name, entry in entries.items():
        place = f"{section}.{name}"
        problems += _name_problems(section, name, place) or _unwritable_name(section, name, place, version)
        if section == "peers" and "host" not in entry:
            problems.append(Problem(place, "has no host", "the directory of its unix socket, or an address"))
        for key, value in entry.items():
            wrong = settings.refused(section, key, value, version)
            if wrong:
                problems.append(Problem(f"{place}.{key}", wrong.what, wrong.remedy))
            elif not value:
                problems.append(
                    Problem(f"{place}.{key}", "is empty, which a connect string cannot say", "leave it out")
                )
            elif _breaks(value):
                problems.append(Problem(f"{place}.{key}", "holds a line break or a NUL", "the file cannot write it"))
    return problems


def _unwritable_name(section: str, name: str, place: str, version: Version) -> list[Problem]:
    if _BARE.fullmatch(name):
        return []
    noun = _NOUN[section]
    if version < QUOTED_NAMES:
        since = settings.spelled(QUOTED_NAMES)
        what = f"the {noun} name {name!r} cannot be written for PgBouncer before {since}"
        return [Problem(place, what, "letters, digits and _.*- only; the '*' entry serves any database name")]
    if not name or "'" in name or _breaks(name):
        what = f"the {noun} name {name!r} cannot be written"
        return [Problem(place, what, "no name can be empty or hold a single quote or a line break")]
    return []


def _breaks(text: str) -> bool:
    return _BREAK.search(text) is not None


def _skip(text: str, at: int, characters: str) -> int:
    while at < len(text) and text[at] in characters:
        at += 1
    return at


def _end_of_line(text: str, at: int) -> int:
    end = text.find("\n", at)
    return len(text) if end < 0 else end
