"""The same config for those who keep Butane: variant fcos, version 1.4.0, which is Ignition 3.3.0."""

from __future__ import annotations

import re
from collections.abc import Iterable

from ..files import File
from .first_boot import Fetched, Tree


def render(tree: Tree) -> str:
    """YAML with the files' text as it is."""
    lines = ["variant: fcos", "version: 1.4.0"]
    if tree.authorized_keys:
        lines += ["passwd:", "  users:", "    - name: core", "      ssh_authorized_keys:"]
        lines += [f"        - {_scalar(key)}" for key in tree.authorized_keys]
    files = [(file.path, _file(file)) for file in tree.files]
    files += [(path, _remote(path, what)) for path, what in tree.fetched]
    links = [(path, _link(path, target)) for path, target in tree.links]
    lines += ["storage:"] * bool(files or links)
    for name, entries in (("files", files), ("links", links)):
        if entries:
            lines.append(f"  {name}:")
            for _path, entry in sorted(entries):
                lines += _item(4, entry)
    return "".join(f"{line}\n" for line in lines)


def _file(file: File) -> list[str]:
    entry = [f"path: {_scalar(file.path)}", "overwrite: true", f"mode: 0{file.mode:o}"]
    if file.owner:
        entry += ["user:", f"  id: {file.owner}", "group:", f"  id: {file.owner}"]
    return [*entry, "contents:", *_text(file.content.decode())]


def _remote(path: str, what: Fetched) -> list[str]:
    return [
        f"path: {_scalar(path)}",
        "overwrite: true",
        "mode: 0600",
        "contents:",
        *(f"  {line}" for line in _resource(what)),
    ]


def _link(path: str, target: str) -> list[str]:
    return [f"path: {_scalar(path)}", f"target: {_scalar(target)}", "overwrite: true"]


def _resource(what: Fetched) -> list[str]:
    return [f"source: {_scalar(what.url)}", "verification:", f"  hash: sha512-{what.sha512}"]


def _text(text: str) -> list[str]:
    """A literal block where YAML can say it so; what has control characters, or no line end, stands in quotes."""
    plain = all(character.isprintable() or character == "\n" for character in text)
    if plain and text.endswith("\n") and not text.endswith("\n\n") and not text.startswith((" ", "\n")):
        return ["  inline: |", *(f"    {line}" if line else "" for line in text[:-1].split("\n"))]
    return [f"  inline: {_quoted(text)}"]


def _scalar(text: str) -> str:
    """As it is when YAML takes it for a string in any case, else in quotes."""
    return text if re.fullmatch(r"[A-Za-z/][A-Za-z0-9/@._+= -]*[A-Za-z0-9=]", text) else _quoted(text)


def _quoted(text: str) -> str:
    """A double-quoted scalar; what is not printable is written by its number."""
    return '"' + "".join(_ESCAPED.get(each) or (each if each.isprintable() else _number(each)) for each in text) + '"'


def _number(character: str) -> str:
    return f"\\U{ord(character):08x}"


_ESCAPED = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t"}


def _item(depth: int, lines: Iterable[str]) -> list[str]:
    """A list's entry: the first line after a dash."""
    indent = " " * depth
    return [f"{indent}{'- ' if number == 0 else '  '}{line}" if line else "" for number, line in enumerate(lines)]
