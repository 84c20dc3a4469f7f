"""PgBouncer's HBA file, both ways. It looks like pg_hba.conf and is a small part of it.

The engine skips a line it cannot read with a warning in its log and goes on, and a skipped `reject` opens the pooler;
so every such line is an error here, and so is a line that the engine keeps but that can never match. Facts are those
of 1.24.1 (run and read): no host names, no samenet, no +role, no method but those of METHODS.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from . import settings
from .errors import InvalidError, Problem, nearest
from .settings import Version

TYPES = ("local", "host", "hostssl", "hostnossl")
METHODS = ("trust", "reject", "md5", "password", "scram-sha-256", "cert", "peer")

REFINED: Version = (1, 23, 0)
"""The first engine that knows the address `all`, the database `replication` and the option `map=`."""

# What the engine takes for a keyword, in the columns of databases and of users alike.
_KEYWORDS = frozenset({"all", "sameuser", "samerole", "samegroup", "replication"})
_MEANT = {"database": frozenset({"all", "sameuser", "replication"}), "user": frozenset({"all"})}
_TOKEN = re.compile(
    r'[ \t\v\f\r]*(?:(?P<comma>,)|"(?P<quoted>(?:[^"]|"")*+)"|(?P<bare>[^,#" \t\v\f\r][^,#" \t\v\f\r]*))'
)
_BLANK_OR_COMMENT = re.compile(r"[ \t\v\f\r]*(?:#.*)?")
_PREFIX = re.compile(r"(?P<address>[0-9A-Fa-f.:]+)/(?P<bits>[0-9]{1,3})")
_MAP = re.compile(r"map=[^,#\" \t]+")


@dataclass(frozen=True)
class Rule:
    """One line. The first rule that fits a login decides; without one it is refused.

    `databases` and `users` hold plain names, in which `all` (databases also: `sameuser`, `replication`) is the keyword.
    A database that is itself called `all` is written with its quotes, '"all"'. `address` is `all` or a network
    ('10.0.0.0/8'), None for `local`. `options` is empty or `map=name`, for cert and peer, and needs auth_ident_file.
    """

    type: str
    databases: tuple[str, ...]
    users: tuple[str, ...]
    address: str | None
    method: str
    options: str = ""
    comment: str = field(default="", compare=False)


def render(rules: Sequence[Rule], *, version: Version = settings.ENGINE) -> str:
    """The file, in the order given, comments above their rules. Raises InvalidError for what the engine would skip."""
    problems = [
        problem for number, rule in enumerate(rules, 1) for problem in _problems(rule, f"rule {number}", version)
    ]
    if problems:
        raise InvalidError(problems)
    lines = []
    for rule in rules:
        lines += [f"# {line}".rstrip() for line in rule.comment.splitlines()]
        columns = [rule.type, _column("database", rule.databases), _column("user", rule.users)]
        columns += [part for part in (rule.address, rule.method, rule.options) if part]
        lines.append(" ".join(columns))
    return "".join(f"{line}\n" for line in lines)


def parse(text: str, *, name: str = "hba.conf", version: Version = settings.ENGINE) -> tuple[Rule, ...]:
    """The rules. Raises InvalidError that names, as `name:line`, every line that the engine would lose."""
    rules: list[Rule] = []
    problems: list[Problem] = []
    for number, line in enumerate(text.split("\n"), start=1):
        place = f"{name}:{number}"
        try:
            rule = _rule(line)
        except _UnreadableError as unreadable:
            problems.append(Problem(place, f"the engine would skip this line: {unreadable.what}", unreadable.remedy))
            continue
        if rule is not None:
            problems += _problems(rule, place, version)
            rules.append(rule)
    if problems:
        raise InvalidError(problems)
    return tuple(rules)


class _UnreadableError(Exception):
    def __init__(self, what: str, remedy: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.remedy = remedy


@dataclass(frozen=True)
class _Token:
    """A word, a quoted text (`quoted`) or a comma."""

    text: str
    quoted: bool = False

    def is_comma(self) -> bool:
        return self.text == "," and not self.quoted


def _tokens(line: str) -> list[_Token]:
    if "\0" in line:
        raise _UnreadableError("a NUL character")
    tokens = []
    at = 0
    while not _BLANK_OR_COMMENT.fullmatch(line, at):
        match = _TOKEN.match(line, at)
        if match is None:
            raise _UnreadableError("a double quote is not closed")
        if match["quoted"] is not None:
            tokens.append(_Token(match["quoted"].replace('""', '"'), quoted=True))
        else:
            tokens.append(_Token(match["comma"] or match["bare"]))
        at = match.end()
    return tokens


def _rule(line: str) -> Rule | None:
    """The rule on a line, None for a blank one. What it says may still be wrong; see _problems."""
    tokens = _tokens(line)
    if not tokens:
        return None
    if tokens[0].quoted or tokens[0].text not in TYPES:
        remedy = nearest(tokens[0].text, TYPES) or f"one of {', '.join(TYPES)}"
        raise _UnreadableError(f"{tokens[0].text!r} is not a connection type", remedy)
    kind = tokens.pop(0).text
    databases = _names(tokens, "database")
    users = _names(tokens, "user")
    address = None if kind == "local" else _address(tokens)
    method = _word(tokens, "method")
    options = " ".join(token.text for token in tokens)
    if any(token.quoted or token.is_comma() for token in tokens):
        raise _UnreadableError("options behind the method can only be map=name")
    return Rule(kind, databases, users, address, method, options)


def _names(tokens: list[_Token], column: str) -> tuple[str, ...]:
    names = []
    while True:
        if not tokens or tokens[0].is_comma():
            raise _UnreadableError(f"no {column} where one should be")
        token = tokens.pop(0)
        if not token.quoted and token.text in _KEYWORDS - _MEANT[column]:
            raise _UnreadableError(*_misplaced(column, token.text))
        if token.quoted and (token.text in _MEANT[column] or token.text.startswith(('"', "+", "@"))):
            names.append(_quote(token.text))
        else:
            names.append(token.text)
        if not tokens or not tokens[0].is_comma():
            return tuple(names)
        tokens.pop(0)


def _misplaced(column: str, word: str) -> tuple[str, str]:
    remedy = f'write "{word}", with the quotes, if it is a name'
    if column == "user" and word in {"sameuser", "replication"}:
        return f"{word} is a keyword that does not name a user", remedy
    return f"{word} is not supported", remedy


def _word(tokens: list[_Token], what: str) -> str:
    if not tokens or tokens[0].quoted or tokens[0].is_comma():
        raise _UnreadableError(f"no {what} where one should be")
    return tokens.pop(0).text


def _address(tokens: list[_Token]) -> str:
    """The address as `all` or network/bits; a mask in a column of its own is turned into bits."""
    address = _word(tokens, "address")
    if address == "all" or "/" in address:
        return address
    if not re.fullmatch(r"[0-9A-Fa-f.:]*[.:][0-9A-Fa-f.:]*", address):
        raise _UnreadableError(f"{address!r} is not an address", "all, or a network such as 10.0.0.0/8; no host names")
    if not tokens or not re.fullmatch(r"[0-9A-Fa-f.:]*[.:][0-9A-Fa-f.:]*", tokens[0].text):
        bits = 128 if ":" in address else 32
        raise _UnreadableError(f"{address!r} has no mask", f"write {address}/{bits} for this one address")
    mask = tokens.pop(0).text
    try:
        ones = f"{int(ipaddress.ip_address(mask)):b}"
        width = ipaddress.ip_address(mask).max_prefixlen
    except ValueError:
        raise _UnreadableError(f"{mask!r} is not a mask", "write the network as 10.0.0.0/8") from None
    bits = ones.count("1")
    if ones not in {"0", "1" * bits + "0" * (width - bits)}:
        return f"{address}/{mask}"
    return f"{address}/{bits}"


def _problems(rule: Rule, place: str, version: Version) -> list[Problem]:
    """Why the engine would skip the rule, or keep it and never match it."""
    found = [
        *_type_problems(rule),
        *_name_problems("database", rule.databases, version),
        *_name_problems("user", rule.users, version),
        *_method_problems(rule, version),
    ]
    if rule.type in TYPES and rule.type != "local":
        found += _address_problems(rule.address, version)
    return [Problem(place, what, remedy) for what, remedy in found]


def _type_problems(rule: Rule) -> list[tuple[str, str]]:
    if rule.type not in TYPES:
        return [(f"{rule.type!r} is not a connection type", nearest(rule.type, TYPES) or f"one of {', '.join(TYPES)}")]
    if rule.type == "local" and rule.address is not None:
        return [("a local rule has no address", "leave it out")]
    return []


def _name_problems(column: str, names: Sequence[str], version: Version) -> list[tuple[str, str]]:
    found = []
    if not names:
        found.append((f"no {column}", "all, or names"))
    for name in names:
        if name == "replication" and column == "database" and version < REFINED:
            found.append((f"replication needs PgBouncer {settings.spelled(REFINED)}", "leave it out"))
        elif name.startswith(("+", "@")):
            remedy = f"name the {column}s; write {_quote(name)}, with the quotes, if it is a name"
            found.append((f"{name!r}: members of a role and names from a file are not supported", remedy))
        elif name.startswith('"') and not re.fullmatch(r'"(?:[^"]|"")+"', name):
            found.append((f"{name!r} is not a quoted name", f"write {_quote(name)}, with all the quotes"))
        elif not name or any(character in name for character in "\n\r\0"):
            found.append((f"the {column} name {name!r} cannot match", "a name is not empty and has no line break"))
    return found


def _address_problems(address: str | None, version: Version) -> list[tuple[str, str]]:
    if address == "all":
        if version >= REFINED:
            return []
        spelled = settings.spelled(REFINED)
        return [(f"the address all needs PgBouncer {spelled}", "write two rules, for 0.0.0.0/0 and ::/0")]
    match = _PREFIX.fullmatch(address or "")
    try:
        if match is None:
            raise ValueError  # noqa: TRY301
        network = ipaddress.ip_network(f"{match['address']}/{int(match['bits'])}", strict=False)
    except ValueError:
        return [(f"{address!r} is not a network", "all, or a network such as 10.0.0.0/8; no host names")]
    if network.network_address != ipaddress.ip_address(match["address"]):
        return [(f"{address} has bits behind its mask, so the engine would never match it", f"write {network}")]
    return []


def _method_problems(rule: Rule, version: Version) -> list[tuple[str, str]]:
    if rule.method not in METHODS:
        remedy = "write password" if rule.method == "plain" else nearest(rule.method, METHODS)
        return [(f"the engine has no method {rule.method!r} in this file", remedy or f"one of {', '.join(METHODS)}")]
    if not rule.options:
        return []
    if not _MAP.fullmatch(rule.options) or rule.method not in {"cert", "peer"}:
        return [(f"{rule.options!r} cannot stand behind {rule.method}", "only cert and peer take an option, map=name")]
    if version < REFINED:
        return [(f"map= needs PgBouncer {settings.spelled(REFINED)}", "leave it out")]
    return []


def _column(column: str, names: Sequence[str]) -> str:
    return ",".join(_written(column, name) for name in names)


def _written(column: str, name: str) -> str:
    if name.startswith('"') or name in _MEANT[column]:
        return name
    return name if re.fullmatch(r"[A-Za-z0-9_.*-]+", name) and name not in _KEYWORDS else _quote(name)


def _quote(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
