"""The PgBouncer of a Compose file: its variables, and the files that are mounted into it."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..errors import InvalidError, PoolerError, Problem
from . import environment
from .installation import Read

_VARIABLE = re.compile(
    r"\$(?:(?P<escaped>\$)|(?P<plain>[A-Za-z_][A-Za-z0-9_]*)"
    r"|\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?:(?P<colon>:?)(?P<how>[-?+])(?P<other>[^}]*))?\})"
)


@dataclass(frozen=True)
class Service:
    """`files` are paths beside the Compose file by where the container sees them; `ports` as they are published."""

    name: str
    variables: Mapping[str, str] = field(repr=False)
    files: Mapping[str, str] = field(default_factory=dict)
    ports: tuple[str, ...] = ()


def service(text: str, name: str, around: Mapping[str, str], read: Read) -> Service:
    """The one service that is a PgBouncer; `around` are the variables that the file may use. Raises InvalidError."""
    import yaml  # on the controller only

    try:
        given = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise PoolerError(f"{name}: is not YAML: {error}") from None
    services = given.get("services") if isinstance(given, Mapping) else None
    if not isinstance(services, Mapping):
        raise InvalidError(
            [Problem(name, "has no services", "a Compose file, or variables in a file that ends with .env")]
        )
    found = [key for key, entry in services.items() if isinstance(entry, Mapping) and _is_pooler(str(key), entry)]
    if len(found) != 1:
        what = f"has {len(found)} services that look like PgBouncer" + (f": {', '.join(found)}" if found else "")
        raise InvalidError([Problem(name, what, "keep one of them in a copy of the file")])
    entry = _filled(services[found[0]], around, f"{name}: services.{found[0]}")
    variables: dict[str, str] = {}
    for path in _env_files(entry.get("env_file")):
        try:
            variables |= environment.parse(read(path), path)
        except OSError as error:
            what = f"{path} cannot be read: {error.strerror or error}"
            raise InvalidError([Problem(f"{name}: services.{found[0]}.env_file", what)]) from None
    variables |= _environment(entry.get("environment"), around)
    ports = tuple(str(port) for port in entry.get("ports") or ())
    return Service(str(found[0]), variables, dict(_mounts(entry.get("volumes"))), ports)


def mounted(service: Service, path: str) -> str | None:
    """The path beside the Compose file of a file that the container sees at `path`."""
    for target, source in service.files.items():
        if path == target:
            return source
        if path.startswith(target.rstrip("/") + "/"):
            return posixpath.join(source, path[len(target.rstrip("/")) + 1 :])
    return None


def _is_pooler(name: str, entry: Mapping[str, Any]) -> bool:
    image = str(entry.get("image", "")).rpartition("/")[2]
    return "pgbouncer" in image or ("image" not in entry and "pgbouncer" in name)


def _environment(given: object, around: Mapping[str, str]) -> dict[str, str]:
    """A mapping or a list of NAME=value; a name alone takes its value from around."""
    if isinstance(given, Mapping):
        return {str(key): around.get(str(key), "") if text is None else _text(text) for key, text in given.items()}
    found = {}
    for each in given if isinstance(given, list) else ():
        key, equals, text = str(each).partition("=")
        found[key] = text if equals else around.get(key, "")
    return found


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _env_files(given: object) -> list[str]:
    entries = given if isinstance(given, list) else [] if given is None else [given]
    return [str(each["path"] if isinstance(each, Mapping) else each) for each in entries]


def _mounts(given: object) -> list[tuple[str, str]]:
    """(target, source) of what is mounted from beside the file; volumes by name hold nothing to read."""
    found = []
    for each in given if isinstance(given, list) else ():
        if isinstance(each, Mapping):
            source, target = str(each.get("source", "")), str(each.get("target", ""))
        else:
            source, target = (*str(each).split(":"), "")[:2]
        if source.startswith((".", "/", "~")) and target:
            found.append((target, source))
    return found


def _filled(value: Any, around: Mapping[str, str], place: str) -> Any:
    """With the values of ${VARIABLES} in all texts."""
    if isinstance(value, Mapping):
        return {key: _filled(each, around, f"{place}.{key}") for key, each in value.items()}
    if isinstance(value, list):
        return [_filled(each, around, place) for each in value]
    return _VARIABLE.sub(lambda match: _value(match, around, place), value) if isinstance(value, str) else value


def _value(match: re.Match[str], around: Mapping[str, str], place: str) -> str:
    if match["escaped"]:
        return "$"
    name = match["plain"] or match["name"]
    found = around.get(name)
    there = bool(found) if match["colon"] else found is not None
    if match["how"] == "+":
        return str(match["other"]) if there else ""
    if not there and match["how"] == "-":
        return str(match["other"])
    if not there:
        what = f"uses ${{{name}}}, which has no value"
        raise InvalidError([Problem(place, what, f"write {name}=… into a file .env beside it")])
    return str(found)
