"""Every PgBouncer setting: its kind, bounds, default, first release, and whether a RELOAD is enough.

The engine takes most mistakes silently (`pool_size = abc` is 0, `0100` is 64, a negative count is kept), so values of
an inventory are checked here more strictly than the engine would: `check`. What the engine itself refuses: `refused`.
The data is settings.json, written by tools/settings_catalogue.py.
"""

from __future__ import annotations

import re

from . import cnumbers, values
from .catalogue import BACKPORTS, SECTIONS, SETTINGS, VULNERABILITIES, Setting, Version, Vulnerability
from .errors import InvalidError, Problem, nearest

__all__ = [
    "ENGINE",
    "NEWEST",
    "SECTIONS",
    "VULNERABILITIES",
    "Setting",
    "Version",
    "Vulnerability",
    "check",
    "get",
    "known",
    "parse_version",
    "refused",
    "same",
    "spelled",
    "vulnerabilities",
]

ENGINE: Version = (1, 24, 1)
"""The engine in our image; what is rendered or read is meant for it unless another version is named."""

NEWEST: Version = (1, 26, 1)
"""What this catalogue knows last; it reads every file that an older one reads."""

_KNOWN = {section: tuple(sorted(name for at, name in SETTINGS if at == section)) for section in SECTIONS}
_INTEGERS = {"integer", "port", "bytes", "milliseconds", "whole seconds", "octal"}
# The engine looks these up when it loads the file; any other choice it keeps as a text that fails later, if at all.
_LOOKED_UP = {"auth_type", "client_tls_sslmode", "load_balance_hosts", "pool_mode", "server_tls_sslmode"}
_DEBIAN = re.compile(r"(?:\d+:)?(?P<upstream>[0-9.]+)-(?P<revision>[0-9.]+)\+deb(?P<release>\d+)u(?P<update>\d+)")


def get(section: str, name: str) -> Setting:
    """The setting. Raises InvalidError that names the nearest known one."""
    setting = SETTINGS.get((section, name))
    if setting is None:
        raise InvalidError([_unknown(section, name, f"{section}.{name}")])
    return setting


def known(section: str) -> tuple[str, ...]:
    """The names of one section (pgbouncer, databases, users, peers), sorted."""
    return _KNOWN.get(section, ())


def check(
    section: str, name: str, value: object, *, place: str, version: Version = ENGINE
) -> tuple[str, list[Problem]]:
    """The engine's text for an inventory value (bool, int, float, str, list), and what is wrong with the value.

    The text is of use only when there are no problems. Secrets are never shown in them.
    """
    setting = SETTINGS.get((section, name))
    if setting is None:
        return "", [_unknown(section, name, place)]
    if setting.since > version:
        return "", [Problem(place, _too_new(setting, version), "leave it out, or use a newer engine")]
    try:
        text = values.text_of(setting, value)
        values.insist(setting, text, version)
    except values.WrongError as wrong:
        shown = "the value" if setting.secret else values.shown(value)
        return "", [Problem(place, f"{shown} {wrong.what}", wrong.remedy)]
    impossible = refused(section, name, text, version)
    return ("", [Problem(place, impossible.what, impossible.remedy)]) if impossible else (text, [])


def refused(section: str, name: str, text: str, version: Version = ENGINE) -> Problem | None:
    """What the engine itself would refuse when it loads `name = text`, without a place; None when it would take it.

    Follows the engine's own readers: strtol with base 0 and strtod in [pgbouncer], atoi in connection strings.
    """
    setting = SETTINGS.get((section, name))
    if setting is None:
        return _unknown(section, name, "")
    if setting.since > version:
        return Problem("", _too_new(setting, version))
    if name in _LOOKED_UP and text.lower() not in setting.allowed_for(version):
        close = nearest(text.lower(), setting.allowed_for(version))
        return Problem("", f"{name} must be one of {values.listed(setting.allowed_for(version))}", close)
    if section != "pgbouncer":
        return Problem("", f"{name} is not a port number") if name == "port" and not cnumbers.leading(text) else None
    if name == "auth_dbname" and text == "pgbouncer":
        return Problem("", "auth_dbname cannot be the reserved database 'pgbouncer'")
    if setting.kind in _INTEGERS and cnumbers.integer(text) is None:
        return Problem("", f"{name} must be a whole number")
    if setting.kind == "boolean" and cnumbers.integer(text) is None:
        return Problem("", f"{name} must be 0 or 1")
    if setting.kind == "seconds" and not cnumbers.is_time(text):
        return Problem("", f"{name} must be a number of seconds, without a unit")
    return None


def same(section: str, name: str, wanted_text: str, shown_text: str | None) -> bool:
    """Whether what SHOW CONFIG shows (None for NULL) is what the file said.

    The engine shows times with six significant digits, octal modes in decimal and choices in lower case; it stores
    booleans as numbers and lists as they were written.
    """
    setting = get(section, name)
    shown = "" if shown_text is None else shown_text
    if wanted_text == shown:
        return True
    if setting.kind == "boolean":
        truth = _truth(wanted_text)
        return truth is not None and truth == _truth(shown)
    if setting.kind in _INTEGERS:
        # What the engine prints is decimal; only in what we asked for does a leading 0 mean octal.
        wanted = cnumbers.integer(wanted_text)
        return wanted is not None and shown.lstrip("-").isdecimal() and (wanted - int(shown)) % 2**32 == 0
    if setting.kind == "seconds":
        times = (wanted_text, shown)
        return all(map(cnumbers.is_time, times)) and len(set(map(cnumbers.shown_time, times))) == 1
    if setting.kind == "enum":
        return wanted_text.lower() == shown.lower()
    if setting.kind in {"list", "hosts"}:
        return values.items(wanted_text) == values.items(shown)
    return False


def vulnerabilities(version: Version, package: str | None = None) -> tuple[str, ...]:
    """The CVEs that are open in an engine, oldest first; VULNERABILITIES says what each one is.

    `package` is the version of the distribution's package ('1.24.1-1+deb13u2'), which may carry fixes that the
    engine's own version does not tell of.
    """
    repaired = _carried_back(package) if package else frozenset()
    return tuple(hole.cve for hole in VULNERABILITIES.values() if version < hole.fixed and hole.cve not in repaired)


def parse_version(text: str) -> Version:
    """(1, 24, 1) for '1.24.1', 'PgBouncer 1.24.1' and package versions such as '1.24.1-1+deb13u2'."""
    match = re.search(r"(?<![\d.])(\d+(?:\.\d+)+)", text)
    if match is None:
        raise InvalidError([Problem("version", f"{text!r} holds no version number", "expected something like 1.24.1")])
    return tuple(int(part) for part in match[1].split("."))


def spelled(version: Version) -> str:
    """'1.24.1' for (1, 24, 1)."""
    return ".".join(str(part) for part in version)


def _unknown(section: str, name: str, place: str) -> Problem:
    if section not in SECTIONS:
        return Problem(place, f"[{section}] is not a section", f"one of {values.listed(SECTIONS)}")
    elsewhere = [other for other in SECTIONS if other != section and (other, name) in SETTINGS]
    home = f"it is a setting of [{elsewhere[0]}]" if elsewhere else ""
    return Problem(place, f"{name!r} is not a setting of [{section}]", nearest(name, known(section)) or home)


def _too_new(setting: Setting, version: Version) -> str:
    return f"{setting.name} needs PgBouncer {spelled(setting.since)}, the engine is {spelled(version)}"


def _truth(text: str) -> bool | None:
    number = cnumbers.integer(text)
    if number is not None:
        return number != 0
    if text.lower() in values.YES:
        return True
    return False if text.lower() in values.NO else None


def _carried_back(package: str) -> frozenset[str]:
    """The CVEs that a Debian package repairs beyond its upstream version; a later update keeps the earlier ones."""
    match = _DEBIAN.fullmatch(package)
    if match is None:
        return frozenset()
    fixed: set[str] = set()
    for known_package, fixes in BACKPORTS.items():
        known_match = _DEBIAN.fullmatch(known_package)
        if (
            known_match is not None
            and known_match.group("upstream", "release") == match.group("upstream", "release")
            and int(known_match["update"]) <= int(match["update"])
        ):
            fixed |= fixes
    return frozenset(fixed)
