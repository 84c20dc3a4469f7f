"""What an adoption brings: the variables without their secrets, the secrets by themselves, and what is otherwise."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from .. import bundle, settings
from .compare import Difference
from .installation import Installation
from .translate import Fate

PREFIX = "pgbouncer_"
VAULT = "vault_pgbouncer"
_SECRET = ("password", "verifier")
_HEADINGS: tuple[tuple[Fate, str], ...] = (
    ("lost", "Lost, and needs a hand"),
    ("changed", "Works, but not as before"),
    ("moved", "The same by other means"),
)


def inventory(options: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Variables of the role `pgbouncer`, which name the secrets, and the variable that holds them, to be encrypted."""
    found: dict[str, Any] = {}
    vault: dict[str, Any] = {}
    for name, value in options.items():
        if name in ("databases", "users"):
            value = [_without_secrets(name, entry, vault) for entry in value]
        if name != "image" and value not in ({}, []):
            found[PREFIX + name] = value
    return found, {VAULT: vault} if vault else {}


def _without_secrets(section: str, entry: Mapping[str, Any], vault: dict[str, Any]) -> dict[str, Any]:
    shown = dict(entry)
    for key in _SECRET:
        if key in entry:
            vault.setdefault(section, {})[entry["name"]] = entry[key]
            shown[key] = Reference(f"{{{{ {VAULT}[{_quoted(section)}][{_quoted(entry['name'])}] }}}}")
    return shown


class Reference(str):
    """An expression for Ansible to evaluate; every other text with braces is to be left alone."""

    __slots__ = ()


def yaml(variables: Mapping[str, Any]) -> str:
    """As a file of group_vars. What Ansible would take for a template, and is none, is marked as unsafe."""
    import yaml as pyyaml  # on the controller only

    class Dumper(pyyaml.SafeDumper):
        pass

    def text(dumper: Any, value: str) -> Any:
        template = not isinstance(value, Reference) and any(mark in value for mark in ("{{", "{%", "{#"))
        return dumper.represent_scalar("!unsafe" if template else "tag:yaml.org,2002:str", str(value), '"' * template)

    Dumper.add_representer(str, text)
    Dumper.add_representer(Reference, text)
    return "---\n" + str(pyyaml.dump(dict(variables), Dumper=Dumper, sort_keys=False, allow_unicode=True, width=110))


def told(old: Installation, differences: Sequence[Difference]) -> list[str]:
    """The report's lines."""
    lines: list[str] = []
    for fate, heading in _HEADINGS:
        those = [each for each in differences if each.reason.fate == fate]
        lines += _section(heading, (_difference(each) for each in sorted(those, key=_by_place)))
    lines += _section("Left as it was; without the line it would be ours", _kept(old))
    lines += _section("Not read", (str(each) for each in old.remarks))
    lines += _section("Found in the files", (str(each) for each in old.findings if each.level != "note"))
    return lines or ["Everything is as it was."]


def lost(old: Installation, differences: Sequence[Difference]) -> bool:
    """Whether something is left to be done."""
    return bool(old.remarks) or any(each.reason.fate == "lost" for each in differences)


def _section(heading: str, lines: Iterable[str]) -> list[str]:
    found = [f"  {line}" for line in lines]
    return [f"{heading}:", *found] if found else []


def _difference(each: Difference) -> str:
    texts = [text for text in (each.before, each.after) if text is not None]
    change = f" {each.before!r} becomes {each.after!r}:" if len(texts) == 2 else ""
    return f"{each.place}:{change} {each.reason.why}"


def _kept(old: Installation) -> list[str]:
    """Settings in which we have another opinion than the engine, and the files had none."""
    return [
        f"settings.{name}: {settings.get('pgbouncer', name).default_for(old.engine) or 'empty'}, ours is {ours}"
        for name, ours in sorted(bundle.DEFAULTS.items())
        if name not in old.ini.pgbouncer and ours != (settings.get("pgbouncer", name).default_for(old.engine) or "0")
    ]


def _by_place(each: Difference) -> str:
    return each.place


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
