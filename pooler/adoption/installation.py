"""What an existing PgBouncer is told by its files: what the engine makes of them, and what is wrong with them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from .. import hba, ini, lint, settings, userlist
from ..errors import InvalidError, Problem
from ..lint import Finding
from ..settings import Version

Read = Callable[[str], str]
"""The text of a file by the path that another file names it with. Raises OSError."""

_DEEPEST = 8


@dataclass(frozen=True)
class Text:
    """A file's text, and the name to call it by."""

    name: str
    text: str = field(repr=False)


@dataclass(frozen=True)
class Installation:
    """One process. `users` are secrets by name, `rules` the lines of the HBA file that the engine keeps.

    `engine` is its version until now; `remarks` are what is said of it besides the `findings` in its files.
    """

    ini: ini.Ini
    engine: Version
    users: Mapping[str, str] = field(default_factory=dict, repr=False)
    rules: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()
    remarks: tuple[Problem, ...] = ()


def read(main: Text, users: Text | None, rules: Text | None, engine: Version, include: Read) -> Installation:
    """Raises InvalidError for a pgbouncer.ini that the engine itself would refuse, with the file and line."""
    lines = list(_lines(main, include, 0))
    text = "".join(f"{line}\n" for _place, line in lines)
    try:
        parsed = ini.parse(text, name="spliced", version=engine)
    except InvalidError as invalid:
        raise InvalidError([_placed(problem, lines) for problem in invalid.problems]) from None
    found = [_moved(finding, lines) for finding in lint.lint_text("ini", text, "spliced", engine)]
    secrets: dict[str, str] = {}
    kept: tuple[str, ...] = ()
    remarks = []
    if users:
        said = lint.lint_text("userlist", users.text, users.name, engine)
        stops = [finding.line for finding in said if finding.rule == "userlist-line"]
        secrets = userlist.parse("\n".join(users.text.split("\n")[: min(stops) - 1 if stops else None]))
        found += said
    elif parsed.pgbouncer.get("auth_file"):
        remarks.append(_not_given("auth_file", parsed, "its users are not adopted"))
    if rules:
        said = lint.lint_text("hba", rules.text, rules.name, engine)
        lost = {finding.line for finding in said if finding.rule == "lost-rule"}
        each = enumerate(rules.text.split("\n"), 1)
        kept = tuple(line.strip() for number, line in each if number not in lost and hba.parse(line, version=engine))
        found += said
    elif parsed.pgbouncer.get("auth_type", "").lower() == "hba":
        remarks.append(_not_given("auth_hba_file", parsed, "its rules are not adopted"))
    return Installation(parsed, engine, secrets, kept, tuple(found), tuple(remarks))


def default(name: str, version: Version) -> str:
    """What a setting of [pgbouncer] is where nothing is said; empty for nothing."""
    setting = settings.get("pgbouncer", name)
    return setting.default_for(version) or ("0" if setting.kind == "integer" else "")


def _not_given(name: str, parsed: ini.Ini, consequence: str) -> Problem:
    path = parsed.pgbouncer.get(name, "")
    return Problem(name, f"{path or 'the file'} was not given, so {consequence}", "name the file as well")


def _lines(file: Text, include: Read, depth: int) -> Iterator[tuple[str, str]]:
    """`file:line` and text of each line, included files in their place, as the engine reads them."""
    if depth > _DEEPEST:
        raise InvalidError([Problem(file.name, "is included too deep", f"at most {_DEEPEST} files in each other")])
    for number, line in enumerate(file.text.split("\n"), start=1):
        read, _problems = ini.read(line, name="") if line.lstrip().startswith("%include") else ([], [])
        if not read:
            yield f"{file.name}:{number}", line
            continue
        path = read[0].value
        try:
            text = include(path)
        except OSError as error:
            what = f"{path} cannot be read: {error.strerror or error}"
            raise InvalidError([Problem(f"{file.name}:{number}", what, "put it beside the file")]) from None
        yield from _lines(Text(path, text), include, depth + 1)


def _placed(problem: Problem, lines: list[tuple[str, str]]) -> Problem:
    number = int(problem.place.rpartition(":")[2])
    return Problem(lines[min(number, len(lines)) - 1][0], problem.what, problem.remedy)


def _moved(finding: Finding, lines: list[tuple[str, str]]) -> Finding:
    return Finding(finding.rule, _placed(finding.problem, lines))
