"""The data behind settings.py: every setting and every known hole, read once from settings.json."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Version = tuple[int, ...]

SECTIONS = ("pgbouncer", "databases", "users", "peers")


@dataclass(frozen=True)
class Setting:
    """One key of one section. Bounds are in the unit of `kind`; `since` is the first release with it."""

    section: str
    name: str
    kind: str
    """boolean, integer, port, seconds, whole seconds, milliseconds, bytes, octal, enum, list, hosts, path or text"""
    default: str | None
    """As in the newest engine; None where the engine has none (unset, or taken from [pgbouncer])."""
    reloadable: bool
    since: Version
    allowed: tuple[str, ...] = ()
    allowed_since: tuple[tuple[str, Version], ...] = ()
    minimum: int = 0
    maximum: int = 2**31 - 1
    may_be_empty: bool = False
    secret: bool = False
    older_defaults: tuple[tuple[Version, str], ...] = ()
    deprecated: str = ""
    note: str = ""

    def default_for(self, version: Version) -> str | None:
        """The default of the engine of that version."""
        return next((text for last, text in self.older_defaults if version <= last), self.default)

    def allowed_for(self, version: Version) -> tuple[str, ...]:
        """The words that the engine of that version knows; empty when the setting is not a choice."""
        too_new = {word for word, since in self.allowed_since if since > version}
        return tuple(word for word in self.allowed if word not in too_new)


@dataclass(frozen=True)
class Vulnerability:
    """A known hole. `fixed` is the first upstream release without it."""

    cve: str
    fixed: Version
    what: str


def _version(text: str) -> Version:
    return tuple(int(part) for part in text.split("."))


def _setting(entry: Mapping[str, Any]) -> Setting:
    fields = dict(entry)
    fields["since"] = _version(entry["since"])
    fields["allowed"] = tuple(entry.get("allowed", ()))
    fields["allowed_since"] = tuple((word, _version(at)) for word, at in entry.get("allowed_since", {}).items())
    fields["older_defaults"] = tuple((_version(at), text) for at, text in entry.get("older_defaults", {}).items())
    return Setting(**fields)


_DATA = json.loads(Path(__file__).with_name("settings.json").read_text(encoding="utf-8"))

SETTINGS: dict[tuple[str, str], Setting] = {
    (entry["section"], entry["name"]): _setting(entry) for entry in _DATA["settings"]
}
"""By section and name."""

VULNERABILITIES: dict[str, Vulnerability] = {
    entry["cve"]: Vulnerability(entry["cve"], _version(entry["fixed"]), entry["what"])
    for entry in _DATA["vulnerabilities"]
}
"""By CVE number, oldest first."""

BACKPORTS: dict[str, frozenset[str]] = {entry["package"]: frozenset(entry["fixes"]) for entry in _DATA["backports"]}
"""The CVEs that a distribution's package repairs beyond its upstream version, by package version."""
