# Copyright: the pgfleet team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The authority's files on the controller: `ca.crt`, and `ca.key` encrypted with a passphrase.

The first certificate of `ca.crt` issues; what follows it is trusted as well. While one authority takes over from
another there are more files, and by them everybody knows how far that has come:

- `next.crt` and `next.key`: the next one is trusted besides. It does not issue yet.
- `old.crt`: the next one issues, as `ca.crt` and `ca.key`. The one in `old.crt` is still trusted.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal

from ...pooler.certificates import Authority, issuing, lock, require_signer, trusted, unlock, without
from ...pooler.errors import PoolerError

Stage = Literal["settled", "trusted", "reissued"]


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

    @property
    def next_certificate_path(self) -> Path:
        return self.directory / "next.crt"

    @property
    def next_key_path(self) -> Path:
        return self.directory / "next.key"

    @property
    def old_path(self) -> Path:
        return self.directory / "old.crt"

    @property
    def stage(self) -> Stage:
        """How far the next authority has come."""
        if self.next_certificate_path.exists():
            return "trusted"
        return "reissued" if self.old_path.exists() else "settled"

    @property
    def half(self) -> bool:
        """Whether something has been begun here that was broken off; doing it again completes it."""
        if not self.next_certificate_path.exists():
            return False
        bundle, following = self._text(self.certificate_path), self._text(self.next_certificate_path)
        return self.old_path.exists() or trusted(bundle, following) != trusted(bundle)

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
        return self._text(self.certificate_path)

    def authority(self, passphrase: str) -> Authority:
        """The authority with its key, ready to issue. Raises PoolerError when the passphrase does not open the key."""
        return Authority(self.certificate() or "", self.plain_key(passphrase))

    def plain_key(self, passphrase: str) -> bytes:
        try:
            return unlock(self._read(self.key_path), passphrase)
        except PoolerError as error:
            raise PoolerError(f"{self.key_path}: {error}") from None

    def write(self, authority: Authority, passphrase: str) -> None:
        self._write_pair(authority, passphrase, self.key_path, self.certificate_path)

    def trust(self, following: Authority | None, passphrase: str, now: datetime) -> None:
        """Trust the next authority besides: this one, or the one that lies here as `next.crt` and `next.key`.

        Raises PoolerError for one that could not issue.
        """
        if following is not None:
            self._write_pair(following, passphrase, self.next_key_path, self.next_certificate_path)
        self._require_next(passphrase, now)
        self._put_text(
            self.certificate_path, trusted(self._text(self.certificate_path), self._text(self.next_certificate_path))
        )

    def reissue(self, passphrase: str, now: datetime) -> None:
        """The next authority issues from now on; the one before it is still trusted."""
        self._require_next(passphrase, now)
        bundle, following = self._text(self.certificate_path), self._text(self.next_certificate_path)
        if not self.old_path.exists():
            self._put_text(self.old_path, without(issuing(bundle), following))
        self._put(self.key_path, self._read(self.next_key_path), 0o600)
        self._put_text(self.certificate_path, trusted(following, bundle))
        self.next_certificate_path.unlink()
        self.next_key_path.unlink()

    def drop(self) -> None:
        """The authority that was replaced is no longer trusted."""
        self._put_text(self.certificate_path, without(self._text(self.certificate_path), self._text(self.old_path)))
        self.old_path.unlink()

    def _require_next(self, passphrase: str, now: datetime) -> None:
        try:
            key = unlock(self._read(self.next_key_path), passphrase)
            require_signer(Authority(self._text(self.next_certificate_path), key), now)
        except PoolerError as error:
            raise PoolerError(f"{self.next_certificate_path}, {self.next_key_path.name}: {error}") from None

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

    def _write_pair(self, authority: Authority, passphrase: str, key: Path, certificate: Path) -> None:
        """The key first: a certificate without its key would look like an authority."""
        self._put(key, lock(authority.key_pem, passphrase), 0o600)
        self._put_text(certificate, authority.certificate_pem)

    def _text(self, path: Path) -> str:
        return self._read(path).decode(errors="replace")

    def _put_text(self, path: Path, text: str) -> None:
        self._put(path, text.encode(), 0o644)

    def _read(self, path: Path) -> bytes:
        try:
            return path.read_bytes()
        except OSError as error:
            raise PoolerError(f"{path}: cannot be read: {error.strerror}") from None

    def _put(self, path: Path, content: bytes, mode: int) -> None:
        draft = path.with_name(f".{path.name}.new")
        try:
            draft.unlink(missing_ok=True)
            with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(path)
        except OSError as error:
            raise PoolerError(f"{path}: cannot be written: {error.strerror}") from None
