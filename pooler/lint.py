"""What is wrong, or will hurt, in a file that somebody else wrote: pgbouncer.ini, userlist.txt or an HBA file."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from . import cnumbers, hba, ini, scram, settings, userlist, values
from .errors import InvalidError, Problem
from .settings import Version

Kind = Literal["ini", "userlist", "hba"]
Level = Literal["error", "warning", "note"]

SAFE_OPTIONS: Version = (1, 26, 1)
"""The first engine that does not loop for a client when ignore_startup_parameters lacks `options` (CVE-2026-107349)."""


@dataclass(frozen=True)
class Rule:
    """A kind of finding. An error is refused, lost or dangerous, a warning taken otherwise than it looks or weak."""

    name: str
    level: Level
    about: str


RULES = {
    rule.name: rule
    for rule in (
        Rule("syntax", "error", "The engine reads no further, or does not load the file."),
        Rule("setting", "error", "A setting that this engine does not know, or a value that it refuses."),
        Rule("value", "warning", "A value that the engine takes for something else than it looks like."),
        Rule("deprecated", "warning", "An old name of a setting."),
        Rule("second-header", "error", "A second [pgbouncer] header takes back every setting above it."),
        Rule("options", "error", "Any client can send the engine into an endless loop."),
        Rule("pools", "warning", "Pool sizes and limits that contradict each other."),
        Rule("login", "warning", "A login without a secret, or with one that can be read on its way."),
        Rule("tls", "warning", "Connections without TLS, with an old one, or with one that trusts anybody."),
        Rule("secret", "warning", "A secret that whoever reads the file can log in with."),
        Rule("userlist-line", "error", "The engine reads no further here, and locks all later users out."),
        Rule("lost-rule", "error", "The engine skips the line, or never matches it."),
        Rule("restart", "note", "A RELOAD leaves the setting as it was, without a word."),
    )
}
"""By name."""


@dataclass(frozen=True)
class Finding:
    """A problem at `file:line`, and the name of its rule."""

    rule: str
    problem: Problem

    @property
    def level(self) -> Level:
        return RULES[self.rule].level

    @property
    def file(self) -> str:
        return self.problem.place.rpartition(":")[0]

    @property
    def line(self) -> int:
        return int(self.problem.place.rpartition(":")[2])

    def __str__(self) -> str:
        remedy = f" ({self.problem.remedy})" if self.problem.remedy else ""
        return f"{self.problem.place}: {self.level}: {self.problem.what}{remedy} [{self.rule}]"


def lint_text(kind: Kind, text: str, name: str, version: Version = settings.ENGINE) -> list[Finding]:
    """Everything that is to be said about the file, by line. `name` stands for the file in it; secrets never do."""
    if kind == "userlist":
        return sorted(_userlist(text, name), key=_line)
    if kind == "hba":
        return sorted(_hba(text, name, version), key=_line)
    lines, unreadable = ini.read(text, name=name, version=version)
    found = [
        *_entries(lines, name, version),
        *_headers(lines, name),
        *_startup_parameters(lines, name, version),
        *_pools(lines, name),
        *_security(lines, name, version),
        *(Finding("syntax", problem) for problem in unreadable),
    ]
    return sorted(found, key=_line)


def _entries(lines: list[ini.Line], name: str, version: Version) -> Iterator[Finding]:
    """Unknown, too new, deprecated and mistaken settings, by the strict rules for inventories."""
    for line in lines:
        place = f"{name}:{line.number}"
        if line.kind != "entry":
            continue
        if line.section == "pgbouncer":
            yield from _setting(line.section, line.key, line.value, place, version)
            continue
        yield from (Finding("syntax", Problem(place, wrong.what, wrong.remedy)) for wrong in ini.misshapen(line))
        for key, value in ini.connect_pairs(line.value) or ():
            yield from _setting(line.section, key, value, place, version)
            if "\t" in value:
                what = f"a tab is part of the value of {key}"
                yield Finding("value", Problem(place, what, "only spaces separate in a connect string"))
            if key == "password":
                what = f"database {line.key!r} has its password in this file"
                remedy = "let the role log in by certificate, or keep its secret in the userlist"
                yield Finding("secret", Problem(place, what, remedy))


def _setting(section: str, key: str, text: str, place: str, version: Version) -> Iterator[Finding]:
    refused = settings.refused(section, key, text, version)
    if refused:
        yield Finding("setting", Problem(place, _naming(key, refused.what), refused.remedy))
        return
    _text, problems = settings.check(section, key, text, place=place, version=version)
    yield from (Finding("value", Problem(place, _naming(key, each.what), each.remedy)) for each in problems)
    setting = settings.get(section, key)
    if setting.deprecated:
        yield Finding("deprecated", Problem(place, f"{key} is deprecated", setting.deprecated))
    if section == "pgbouncer" and not setting.reloadable:
        what = f"a change of {key} needs a restart"
        yield Finding("restart", Problem(place, what, "a RELOAD ignores it and says nothing"))


def _naming(key: str, what: str) -> str:
    return what if key in what else f"{key}: {what}"


def _headers(lines: list[ini.Line], name: str) -> Iterator[Finding]:
    headers = [line for line in lines if line.kind == "section"]
    first: int | None = None
    for line in headers:
        if line.section != "pgbouncer":
            continue
        if first is None:
            first = line.number
        else:
            what = "a second [pgbouncer] header sets everything above back to its default"
            yield Finding(
                "second-header", Problem(f"{name}:{line.number}", what, f"join it with the one in line {first}")
            )
    if not any(line.kind == "include" for line in lines) and not headers:
        yield Finding("syntax", Problem(f"{name}:1", "the engine does not start without a [pgbouncer] section"))


def _startup_parameters(lines: list[ini.Line], name: str, version: Version) -> Iterator[Finding]:
    if version >= SAFE_OPTIONS:
        return
    line = _last(lines).get("ignore_startup_parameters")
    if line and line.value and "options" not in values.items(line.value):
        what = "ignore_startup_parameters lacks options, which lets any client send the engine into an endless loop"
        yield Finding(
            "options", Problem(f"{name}:{line.number}", what, "add options, or use PgBouncer 1.26.1 or newer")
        )


def _pools(lines: list[ini.Line], name: str) -> Iterator[Finding]:
    """Sizes that cannot be reached, by the numbers of one process. 0 is unlimited."""
    own = _last(lines)

    def general(key: str) -> int:
        text = own[key].value if key in own else settings.get("pgbouncer", key).default
        return cnumbers.integer(text or "0") or 0

    clients = general("max_client_conn")
    for line in lines:
        if line.section != "databases" or line.kind != "entry":
            continue
        pairs = dict(ini.connect_pairs(line.value) or ())
        size = _count(pairs, "pool_size", general("default_pool_size"))
        most = _count(pairs, "max_db_connections", general("max_db_connections"))
        least = _count(pairs, "min_pool_size", general("min_pool_size"))
        place, whose = f"{name}:{line.number}", f"database {line.key!r}"
        if size and most and size > most:
            what = f"{whose} may have {most} server connections in all, so that a pool never gets to its size of {size}"
            yield Finding("pools", Problem(place, what, "raise max_db_connections, or lower the pool size"))
        if size and least > size:
            what = f"{whose} is to keep {least} server connections, and its pools have {size}"
            yield Finding("pools", Problem(place, what, "lower min_pool_size"))
        if size > clients:
            what = f"{whose} has pools of {size} for at most {clients} clients, so that nothing is shared"
            yield Finding("pools", Problem(place, what, "raise max_client_conn, or lower the pool size"))


def _count(pairs: Mapping[str, str], key: str, otherwise: int) -> int:
    return cnumbers.leading(pairs[key]) if key in pairs else otherwise


def _security(lines: list[ini.Line], name: str, version: Version) -> Iterator[Finding]:
    """Who gets in, and who can listen."""
    own = _last(lines)
    header = next((line for line in lines if line.kind == "section" and line.section == "pgbouncer"), None)
    if header is None:
        return

    def said(key: str) -> tuple[str, str]:
        line = own.get(key)
        text = line.value if line else settings.get("pgbouncer", key).default_for(version) or ""
        return text.lower(), f"{name}:{(line or header).number}"

    listening = not _only_here(values.items(said("listen_addr")[0]))
    method, place = said("auth_type")
    if method in ("any", "trust") and listening:
        what = f"auth_type {method} asks nobody on the network for a password"
        yield Finding("login", Problem(place, what, "auth_type = scram-sha-256"))
    mode, place = said("client_tls_sslmode")
    encrypted = mode in ("require", "verify-ca", "verify-full")
    if listening and not encrypted:
        if method == "plain":
            what = "passwords of clients travel in the clear"
            yield Finding("login", Problem(said("auth_type")[1], what, "auth_type = scram-sha-256"))
        what = f"client_tls_sslmode {mode} lets clients talk without TLS"
        yield Finding("tls", Problem(place, what, "client_tls_sslmode = require, with a certificate"))
    mode, place = said("server_tls_sslmode")
    remote = [line.key for line in lines if line.section == "databases" and _leaves_the_host(line)]
    if remote and mode != "verify-full":
        checks = "any server's name" if mode == "verify-ca" else "any certificate"
        takes = "talks without TLS" if mode == "disable" else f"accepts {checks}"
        what = f"server_tls_sslmode {mode} {takes}, also for database {remote[0]!r}"
        yield Finding("tls", Problem(place, what, "server_tls_sslmode = verify-full, with server_tls_ca_file"))
    for side in ("client", "server"):
        key = f"{side}_tls_protocols"
        old = {"all", "legacy", "tlsv1.0", "tlsv1.1"} & set(values.items(said(key)[0]))
        if key in own and old:
            what = f"{key} takes {', '.join(sorted(old))}, and with it TLS that was given up in 2021"
            yield Finding("tls", Problem(said(key)[1], what, f"{key} = secure"))
        key = f"{side}_tls_ciphers"
        weak = [part for part in re.split("[:, ]", said(key)[0]) if part in _WEAK or part.startswith("exp")]
        if key in own and weak:
            yield Finding("tls", Problem(said(key)[1], f"{key} has {weak[0]}", f"{key} = default"))


_WEAK = frozenset({"all", "fast", "legacy", "low", "null", "anull", "enull", "adh", "rc4", "des", "3des", "md5"})


def _only_here(addresses: list[str]) -> bool:
    """Whether nobody on a network can reach the engine at these addresses."""
    return all(not address or _is_loopback(address) for address in addresses)


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return address == "localhost"


def _leaves_the_host(line: ini.Line) -> bool:
    host = dict(ini.connect_pairs(line.value) or ()).get("host", "") if line.kind == "entry" else ""
    return any(each and not each.startswith(("/", "@")) and not _is_loopback(each) for each in values.items(host))


def _last(lines: list[ini.Line]) -> dict[str, ini.Line]:
    """The line of each setting of [pgbouncer] that counts."""
    return {line.key: line for line in lines if line.kind == "entry" and line.section == "pgbouncer"}


def _userlist(text: str, name: str) -> Iterator[Finding]:
    yield from (Finding("userlist-line", each) for each in _problems_of(lambda: userlist.parse(text, name=name)))
    for number, line in enumerate(text.split("\n"), start=1):
        secret = _secret_on(line)
        if secret and not scram.is_verifier(secret):
            remedy = "keep a SCRAM-SHA-256 verifier instead: nothing to steal, and logins cost a thirtieth of the CPU"
            yield Finding("secret", Problem(f"{name}:{number}", "the secret is a password or an MD5 hash", remedy))


def _secret_on(line: str) -> str:
    """The secret on one line of a userlist, or an empty string."""
    try:
        return next(iter(userlist.parse(line, name="").values()), "")
    except InvalidError:
        return ""


def _hba(text: str, name: str, version: Version) -> Iterator[Finding]:
    for number, line in enumerate(text.split("\n"), start=1):
        place = f"{name}:{number}"
        try:
            rules = hba.parse(line, version=version)
        except InvalidError as invalid:
            yield from (Finding("lost-rule", Problem(place, each.what, each.remedy)) for each in invalid.problems)
            continue
        for rule in rules:
            if rule.type == "local" or _is_loopback((rule.address or "").partition("/")[0]):
                continue
            if rule.method == "trust":
                what = "everybody at these addresses is let in without a password"
                yield Finding("login", Problem(place, what, "scram-sha-256, or cert"))
            elif rule.method == "password" and rule.type != "hostssl":
                what = "passwords may travel in the clear"
                yield Finding("login", Problem(place, what, "scram-sha-256, or hostssl"))


def _problems_of(parse: Callable[[], object]) -> list[Problem]:
    try:
        parse()
    except InvalidError as invalid:
        return list(invalid.problems)
    return []


def _line(finding: Finding) -> int:
    return finding.line
