"""What is wrong, or will hurt, in a file that somebody else wrote: pgbouncer.ini, userlist.txt or an HBA file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Literal

from . import hba, ini, scram, settings, userlist
from .errors import InvalidError, Problem
from .settings import Version

Kind = Literal["ini", "userlist", "hba"]

SAFE_OPTIONS: Version = (1, 26, 1)
"""The first engine that does not loop for a client when ignore_startup_parameters lacks `options` (CVE-2026-107349)."""


def lint_text(kind: Kind, text: str, name: str, version: Version = settings.ENGINE) -> list[Problem]:
    """Every problem in the file, by line. `name` stands for the file in them; secrets never do."""
    if kind == "userlist":
        return _userlist(text, name)
    if kind == "hba":
        return _problems_of(lambda: hba.parse(text, name=name, version=version))
    lines, unreadable = ini.read(text, name=name, version=version)
    found = [*_settings(lines, name, version), *_headers(lines, name), *_startup_parameters(lines, name, version)]
    return sorted([*found, *unreadable], key=_line_number)


def _settings(lines: list[ini.Line], name: str, version: Version) -> Iterator[Problem]:
    """Unknown, too new, deprecated and mistaken settings, by the strict rules for inventories."""
    for line in lines:
        place = f"{name}:{line.number}"
        if line.kind != "entry":
            continue
        if line.section == "pgbouncer":
            yield from _setting(line.section, line.key, line.value, place, version)
            continue
        yield from (Problem(place, wrong.what, wrong.remedy) for wrong in ini.misshapen(line))
        for key, value in ini.connect_pairs(line.value) or ():
            yield from _setting(line.section, key, value, place, version)
            if "\t" in value:
                yield Problem(place, f"a tab is part of the value of {key}", "only spaces separate in a connect string")
            if key == "password":
                what = f"database {line.key!r} has its password in this file"
                yield Problem(place, what, "let the role log in by certificate, or keep its secret in the userlist")


def _setting(section: str, key: str, text: str, place: str, version: Version) -> Iterator[Problem]:
    refused = settings.refused(section, key, text, version)
    _text, problems = settings.check(section, key, text, place=place, version=version)
    for problem in [refused] if refused else problems:
        what = problem.what if key in problem.what else f"{key}: {problem.what}"
        yield Problem(place, what, problem.remedy)
    if not refused and settings.get(section, key).deprecated:
        yield Problem(place, f"{key} is deprecated", settings.get(section, key).deprecated)


def _headers(lines: list[ini.Line], name: str) -> Iterator[Problem]:
    headers = [line for line in lines if line.kind == "section"]
    first: int | None = None
    for line in headers:
        if line.section != "pgbouncer":
            continue
        if first is None:
            first = line.number
        else:
            what = "a second [pgbouncer] header sets everything above back to its default"
            yield Problem(f"{name}:{line.number}", what, f"join it with the one in line {first}")
    if not any(line.kind == "include" for line in lines) and not headers:
        yield Problem(f"{name}:1", "the engine does not start without a [pgbouncer] section")


def _startup_parameters(lines: list[ini.Line], name: str, version: Version) -> Iterator[Problem]:
    if version >= SAFE_OPTIONS:
        return
    named = [line for line in lines if line.section == "pgbouncer" and line.key == "ignore_startup_parameters"]
    if named and named[-1].value and "options" not in [item.strip() for item in named[-1].value.split(",")]:
        what = "ignore_startup_parameters lacks options, which lets any client send the engine into an endless loop"
        yield Problem(f"{name}:{named[-1].number}", what, "add options, or use PgBouncer 1.26.1 or newer")


def _userlist(text: str, name: str) -> list[Problem]:
    problems = _problems_of(lambda: userlist.parse(text, name=name))
    for number, line in enumerate(text.split("\n"), start=1):
        secret = _secret_on(line)
        if secret and not scram.is_verifier(secret):
            remedy = "keep a SCRAM-SHA-256 verifier instead: nothing to steal, and logins cost a thirtieth of the CPU"
            problems.append(Problem(f"{name}:{number}", "the secret is a password or an MD5 hash", remedy))
    return sorted(problems, key=_line_number)


def _secret_on(line: str) -> str:
    """The secret on one line of a userlist, or an empty string."""
    try:
        return next(iter(userlist.parse(line, name="").values()), "")
    except InvalidError:
        return ""


def _problems_of(parse: Callable[[], object]) -> list[Problem]:
    try:
        parse()
    except InvalidError as invalid:
        return list(invalid.problems)
    return []


def _line_number(problem: Problem) -> int:
    return int(problem.place.rpartition(":")[2])
