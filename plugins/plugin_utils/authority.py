# Copyright: the pgfleet team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The authority's files on the controller: `ca.crt`, and `ca.key` encrypted with a passphrase.

The first certificate of `ca.crt` issues; what follows it is trusted as well, for times when one authority replaces
another.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ...pooler.certificates import Authority, lock, unlock
from ...pooler.errors import PoolerError


@dataclass(frozen=True)
class AuthorityFiles:
    """Raises PoolerError, naming the file, for whatever cannot be read or written."""

    directory: Path

    @property
    def certificate_path(self) -> Path:
        return self.directory / "ca.crt"

    @property
    def key_path(self) -> Path:
        return self.directory / "ca.key"

    def certificate(self) -> str | None:
        """PEM, or None when there is no authority. Half of one is an error: making another would orphan its leaves."""
        there = [path for path in (self.certificate_path, self.key_path) if path.exists()]
        if not there:
            return None
        if len(there) == 1:
            missing = ({self.certificate_path, self.key_path} - set(there)).pop()
            raise PoolerError(
                f"{missing}: is missing beside {there[0].name} "
                f"(put it back from a copy; or remove {there[0].name} too, and every host gets new certificates)"
            )
        return self._read(self.certificate_path).decode(errors="replace")

    def authority(self, passphrase: str) -> Authority:
        """The authority with its key, ready to issue. Raises PoolerError when the passphrase does not open the key."""
        return Authority(self.certificate() or "", self.plain_key(passphrase))

    def plain_key(self, passphrase: str) -> bytes:
        try:
            return unlock(self._read(self.key_path), passphrase)
        except PoolerError as error:
            raise PoolerError(f"{self.key_path}: {error}") from None

    def write(self, authority: Authority, passphrase: str) -> None:
        """The key first: a certificate without its key would look like an authority."""
        try:
            self._put(self.key_path, lock(authority.key_pem, passphrase), 0o600)
            self._put(self.certificate_path, authority.certificate_pem.encode(), 0o644)
        except OSError as error:
            raise PoolerError(f"{self.directory}: cannot be written: {error.strerror}") from None

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Makes the directory, and keeps the tasks of other hosts out meanwhile, so that just one authority is made."""
        try:
            self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            handle = os.open(self.directory, os.O_RDONLY)
        except OSError as error:
            raise PoolerError(f"{self.directory}: cannot be used: {error.strerror}") from None
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)

    def _read(self, path: Path) -> bytes:
        try:
            return path.read_bytes()
        except OSError as error:
            raise PoolerError(f"{path}: cannot be read: {error.strerror}") from None

    def _put(self, path: Path, content: bytes, mode: int) -> None:
        draft = path.with_name(f".{path.name}.new")
        draft.unlink(missing_ok=True)
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
