"""The hosts file: the entries of [databases], of which the agent sets host and port, under a lock."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from .. import ini, settings
from ..errors import InvalidError, PoolerError
from ..server import Server
from .config import HOSTS_DIRECTORY

NAME = "databases.ini"

LOCK_SECONDS = 30.0
_RETRY = 0.02

# Names in quotes are read and written as the engines do that know them; a file without them is the same for all.
_VERSION = settings.NEWEST

Pointers = Mapping[str, Server]
"""Entries of [databases] and where each is to point."""


@dataclass(frozen=True)
class Entries:
    """The file's text and its entries."""

    text: str
    databases: Mapping[str, Mapping[str, str]]

    def where(self, name: str) -> Server | None:
        entry = self.databases.get(name, {})
        return Server(entry["host"], int(entry.get("port", "5432"))) if "host" in entry else None

    def astray(self, pointers: Pointers) -> list[str]:
        """The entries that point somewhere else."""
        return [name for name, server in pointers.items() if name in self.databases and self.where(name) != server]


def parse(text: str) -> Entries:
    """Raises InvalidError for what the engine would not read."""
    return Entries(text, ini.parse(text, name=NAME, version=_VERSION).databases)


def repointed(entries: Entries, pointers: Pointers) -> str:
    """The text with these entries pointing there; all else means the same."""
    changed = {
        name: {**entry, "host": pointers[name].host, "port": str(pointers[name].port)} if name in pointers else entry
        for name, entry in entries.databases.items()
    }
    return ini.render_databases(changed, version=_VERSION)


class HostsFile:
    """The file in its directory. Methods raise PoolerError, saying what is wrong with it."""

    def __init__(self, directory: str = HOSTS_DIRECTORY) -> None:
        self._directory = Path(directory)
        self._path = self._directory / NAME
        self._known: tuple[tuple[int, int, int], Entries] | None = None

    def read(self) -> Entries:
        """What is in it; parsed again only when it is another file."""
        try:
            status = self._path.stat()
            mark = (status.st_ino, status.st_mtime_ns, status.st_size)
            if self._known is None or self._known[0] != mark:
                self._known = (mark, parse(self._path.read_text(encoding="utf-8")))
        except InvalidError as error:
            raise PoolerError(str(error)) from None
        except OSError as error:
            raise PoolerError(f"{self._path}: {error.strerror}") from None
        except ValueError as error:
            raise PoolerError(f"{self._path}: {error}") from None
        return self._known[1]

    @contextlib.asynccontextmanager
    async def owned(self) -> AsyncIterator[None]:
        """Nobody else writes it meanwhile. Raises PoolerError when it stays somebody else's too long."""
        deadline = time.monotonic() + LOCK_SECONDS
        try:
            handle = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY)
        except OSError as error:
            raise PoolerError(f"{self._directory}: {error.strerror}") from None
        try:
            while True:
                try:
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() >= deadline:
                        raise PoolerError(f"{self._directory} is locked by another") from None
                    await asyncio.sleep(_RETRY)
            yield
        finally:
            os.close(handle)

    def point(self, pointers: Pointers) -> bool:
        """Rewrite what points elsewhere; whether there was any. Only for who owns it."""
        entries = self.read()
        if not entries.astray(pointers):
            return False
        try:
            self._replace(repointed(entries, pointers))
        except OSError as error:
            raise PoolerError(f"{self._path}: {error.strerror}") from None
        except InvalidError as error:
            raise PoolerError(str(error)) from None
        return True

    def _replace(self, text: str) -> None:
        """By one rename: a reader sees the old file or the new one, also after a crash. Mode and owner stay.

        Which of the two, the rename is not forced to the disk for: clients would wait for that, and where the agent
        comes to life again it looks who leads.
        """
        status = self._path.stat()
        fresh = self._path.with_name(f".{NAME}.agent")
        handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "wb") as file:
            os.fchmod(handle, status.st_mode & 0o7777)
            if (status.st_uid, status.st_gid) != (os.geteuid(), os.getegid()):
                os.fchown(handle, status.st_uid, status.st_gid)
            file.write(text.encode())
            file.flush()
            os.fsync(handle)
        fresh.rename(self._path)
