"""The cache: what took long to build, kept by the content of its recipe, outside the checkout."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from .command import run

_KEPT = 1800  # seconds


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
    if _is_used(place):
        return place
    with locked(key):
        if _is_used(place):
            return place
        unfinished = root() / "building" / key
        remove(unfinished)
        unfinished.mkdir(parents=True)
        build(unfinished)
        place.parent.mkdir(exist_ok=True)
        unfinished.rename(place)
    with locked(f"forget-{name}"):
        _forget_older(name, place)
    return place


@contextlib.contextmanager
def locked(key: str) -> Iterator[None]:
    """Hold the lock of that name; the kernel frees it when the holder dies."""
    locks = root() / "locks"
    locks.mkdir(parents=True, exist_ok=True)
    with (locks / key).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _is_used(place: Path) -> bool:
    """Whether the entry is there; its time of last use is noted."""
    with contextlib.suppress(FileNotFoundError):
        os.utime(place)
        return True
    return False


def _forget_older(name: str, fresh: Path) -> None:
    """Remove entries of the same name that nobody has asked for in half an hour and no lab is made of."""
    in_use = {link.resolve() for pattern in ("lower", "images/*") for link in root().glob(f"labs/*/hosts/*/{pattern}")}
    for place in fresh.parent.glob(f"{name}-*"):
        ours = re.fullmatch(rf"{re.escape(name)}-[0-9a-f]{{16}}", place.name)
        idle = time.time() - place.stat().st_mtime
        if ours and idle > _KEPT and not any(place in used.parents for used in in_use):
            doomed = root() / "building" / f"{place.name}.old"
            place.rename(doomed)
            remove(doomed)


def remove(tree: Path) -> None:
    """Delete a tree; what is mounted below is detached first, and never deleted through its mount."""
    for place in _mounted_below(tree):
        run(["umount", "--lazy", str(place)])
    run(["rm", "-rf", "--one-file-system", str(tree)])


def _mounted_below(tree: Path) -> list[Path]:
    """Mount points in or at the tree, the latest first."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    points = (Path(re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), line.split()[4])) for line in lines)
    top = tree.resolve()
    return [point for point in reversed(list(points)) if point == top or top in point.parents]
