"""The cache: what took long to build, kept by the content of its recipe, outside the checkout."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path


def root() -> Path:
    """The directory of all caches and labs; `PGFLEET_CACHE` moves it."""
    place = os.environ.get("PGFLEET_CACHE")
    return Path(place) if place else Path.home() / ".cache" / "pgfleet"


def digest(recipe: object) -> str:
    """A short name for a recipe: anything that json can write."""
    return hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest()[:16]


def entry(name: str, recipe: object, build: Callable[[Path], None]) -> Path:
    """The directory `<cache>/built/<name>-<digest>`; `build` fills it when it is not there yet.

    It is built beside its place and renamed, so it is there whole or not at all. Processes that want the same
    entry wait for the one that builds it.
    """
    key = f"{name}-{digest(recipe)}"
    place = root() / "built" / key
    if place.exists():
        return place
    with locked(key):
        if place.exists():
            return place
        unfinished = root() / "building" / key
        remove(unfinished)
        unfinished.mkdir(parents=True)
        build(unfinished)
        place.parent.mkdir(exist_ok=True)
        unfinished.rename(place)
    return place


@contextlib.contextmanager
def locked(key: str) -> Iterator[None]:
    """Hold the lock of that name; the kernel frees it when the holder dies."""
    locks = root() / "locks"
    locks.mkdir(parents=True, exist_ok=True)
    with (locks / key).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def remove(tree: Path) -> None:
    """Delete a tree, never through a mount."""
    subprocess.run(["rm", "-rf", "--one-file-system", str(tree)], check=True)
