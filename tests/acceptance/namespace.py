"""Network namespaces: the tests' clients live in the lab's, where the hosts can be reached."""

from __future__ import annotations

import contextlib
import ctypes
import os
from collections.abc import Iterator
from pathlib import Path

_CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


def enter(name: str) -> None:
    """This thread, and what it starts, belongs to the named namespace from now on. Raises OSError."""
    _set(Path(f"/run/netns/{name}"))


@contextlib.contextmanager
def inside(name: str) -> Iterator[None]:
    """For a while; sockets that are opened meanwhile stay in the namespace."""
    with Path("/proc/thread-self/ns/net").open() as before:
        enter(name)
        try:
            yield
        finally:
            _check(_libc.setns(before.fileno(), _CLONE_NEWNET))


def _set(place: Path) -> None:
    with place.open() as namespace:
        _check(_libc.setns(namespace.fileno(), _CLONE_NEWNET))


def _check(status: int) -> None:
    if status:
        raise OSError(ctypes.get_errno(), f"setns: {os.strerror(ctypes.get_errno())}")
