"""Patroni's dynamic configuration: what is wanted of it, what is found, and the patch between the two.

It is one JSON document for the whole cluster, in etcd. We describe a part of it; whatever else is in it is somebody
else's and stays.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from .objects import Difference

Configuration = Mapping[str, Any]
"""As JSON gives it. In a wanted one or a patch, None stands for a key that is not to be there."""


def patch(wanted: Configuration, found: Configuration) -> dict[str, Any]:
    """What PATCH /config must be given for `found` to hold all of `wanted`; empty when it does.

    A merge patch (RFC 7396), as Patroni's `patch_config` carries it out.
    """
    changes: dict[str, Any] = {}
    for key, value in wanted.items():
        there = found.get(key)
        if value is None:
            if there is not None:
                changes[key] = None
        elif isinstance(value, Mapping):
            inner = patch(value, there if isinstance(there, Mapping) else {})
            if inner or not isinstance(there, Mapping):
                changes[key] = inner
        elif key not in found or not _same(value, there):
            changes[key] = value
    return changes


def patched(found: Configuration, changes: Configuration) -> dict[str, Any]:
    """What becomes of `found`."""
    result = dict(found)
    for key, value in changes.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, Mapping):
            there = result.get(key)
            result[key] = patched(there if isinstance(there, Mapping) else {}, value)
        else:
            result[key] = value
    return result


def differences(changes: Configuration, found: Configuration) -> tuple[Difference, ...]:
    """Each setting that a patch changes, by its path."""
    return tuple(_differences(changes, found, ""))


def touched(changes: Configuration, document: Configuration) -> dict[str, Any]:
    """The part of a document, found or patched, that a patch is about."""
    part: dict[str, Any] = {}
    for key, value in changes.items():
        if key in document:
            there = document[key]
            both = isinstance(value, Mapping) and isinstance(there, Mapping)
            part[key] = touched(value, there) if both else there
    return part


def parameters(changes: Configuration) -> frozenset[str]:
    """The settings of PostgreSQL that a patch changes."""
    postgresql = changes.get("postgresql")
    inner = postgresql.get("parameters") if isinstance(postgresql, Mapping) else None
    return frozenset(name.lower() for name in inner) if isinstance(inner, Mapping) else frozenset()


def _same(wanted: Any, found: Any) -> bool:
    """Patroni compares as text, and takes no patch from 200 to "200"."""
    return not isinstance(found, Mapping) and str(wanted) == str(found)


def _differences(changes: Configuration, found: Configuration, path: str) -> Iterator[Difference]:
    for key, value in changes.items():
        there = found.get(key)
        if isinstance(value, Mapping) and (value or isinstance(there, Mapping)):
            yield from _differences(value, there if isinstance(there, Mapping) else {}, f"{path}{key}.")
        else:
            yield Difference(f"{path}{key}", _shown(there), _shown(value))


def _shown(value: Any) -> str:
    return "not set" if value is None else json.dumps(value, ensure_ascii=False)
