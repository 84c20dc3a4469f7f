"""The lines of PostgreSQL's pg_hba.conf by which our role logs in, and what the lines in force let it do instead.

A line cannot be made by SQL: it is Patroni's, or somebody's who writes the file. So it is printed, and looked at.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

Login = Literal["certificate", "verifier"]

_CLOSES = {
    "host": {"TLS", "plain"},
    "hostssl": {"TLS"},
    "hostnossl": {"plain"},
    "hostnogssenc": {"TLS", "plain"},
}
"""The kinds of connections over TCP that a type of line is about; hostgssenc is about none of ours."""

_METHODS: Mapping[Login, str] = {"certificate": "cert", "verifier": "scram-sha-256"}
_WORDS: Mapping[Login, str] = {"certificate": "certificate", "verifier": "password over TLS"}


def lines(role: str, login: Login = "certificate") -> tuple[str, ...]:
    """Above all other lines that fit the role: in over TLS by what it logs in with, and in no other way over TCP."""
    name = _written(role)
    return (f"hostssl all {name} all {_METHODS[login]}", f"host all {name} all reject")


def complaints(
    role: str, database: str, rules: Sequence[Mapping[str, Any]], login: Login = "certificate"
) -> tuple[str, ...]:
    """What is not as `lines` make it, in words for people; empty when all is well.

    `rules` are those of pg_hba_file_rules in their order, as auth_audit.py reads them. The first one that fits a
    login decides. Addresses are not compared: a line for some of them may be the one that counts.
    """
    let_in, others = False, []
    for rule in _reached(role, database, rules):
        if _as_wanted(rule, login):
            let_in = True
        elif rule["method"] != "reject":
            others.append(rule)
    found = [] if let_in else [f"no line of pg_hba.conf lets role {role} in by {_WORDS[login]}"]
    found += [
        f"line {rule['line']} of pg_hba.conf ({rule['type']} … {rule['method']}) is about logins of role {role} as well"
        for rule in others
    ]
    return tuple(f"{what}; put these lines above all others: {'; '.join(lines(role, login))}" for what in found)


def _reached(role: str, database: str, rules: Iterable[Mapping[str, Any]]) -> Iterable[Mapping[str, Any]]:
    """The lines that may decide over a login of the role: none behind a line for all addresses is ever asked."""
    open_kinds = {"TLS", "plain"}
    for rule in rules:
        kinds = _CLOSES.get(rule["type"], set()) & open_kinds
        if not kinds or not _fits(rule["users"], role) or not _fits(rule["databases"], database, role):
            continue
        yield rule
        if rule["address"] == "all":
            open_kinds -= kinds


def _fits(names: Sequence[str], name: str, role: str | None = None) -> bool:
    """Whether a column is about a name: a pattern may be, and a group is when it is the role itself."""
    for text in names:
        if text in ("all", name, f"+{name}") or text.startswith("/"):
            return True
        if text in ("sameuser", "samerole", "samegroup") and name == role:
            return True
    return False


def _as_wanted(rule: Mapping[str, Any], login: Login) -> bool:
    verified = rule["method"] == "trust" and "clientcert=verify-full" in rule["options"]
    return rule["type"] == "hostssl" and (
        rule["method"] == _METHODS[login] or (login == "certificate" and bool(verified))
    )


def _written(name: str) -> str:
    """A name as pg_hba.conf reads it; quotes take a keyword its meaning."""
    plain = re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9_.-]*", name) and name not in ("all", "sameuser", "replication")
    return name if plain else '"' + name.replace('"', '""') + '"'
