# Copyright: the pgfleet team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A host that has sh, coreutils, tar, systemd and podman, and no Python: one exec to read it, one to change it."""

from __future__ import annotations

import base64
import gzip
import io
import posixpath
import secrets
import shlex
import tarfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ...pooler.errors import PoolerError
from ...pooler.files import File

STAGING = "/var/lib/pgfleet"
LOCK = "/run/pgfleet.lock"

_PATIENCE = 300
"""Seconds that a run waits for what an earlier one has begun on the host and nobody listens to any more."""

_BUSY = '{ echo "another run is still at work on this host: run again when it is over" >&2; exit 75; }'

_ROOT = '[ "$(id -u)" = 0 ] || { echo "this needs root: set become: true" >&2; exit 77; }\n'

_NOT_255 = " || { status=$?; [ $status != 255 ] || status=254; exit $status; }"
"""ssh says 255 when it fails itself, and then the host is taken for unreachable. So that no command says it too."""

Execute = Callable[[str, bytes], Mapping[str, Any]]
"""Runs a command on the host with these bytes on standard input; gives `rc`, `stdout` and `stderr`."""


class HostError(PoolerError):
    """A script that ended with an error on the host; the message ends with the host's own words."""


@dataclass(frozen=True)
class Answer:
    """What a script printed, section by section; `failed` is the host's own words when it ended with an error."""

    sections: Mapping[str, str] = field(default_factory=dict)
    failed: str = ""

    def text(self, section: str) -> str:
        return self.sections.get(section, "")

    def lines(self, section: str) -> list[str]:
        return self.text(section).splitlines()

    def binary(self, section: str) -> bytes:
        """A section that the script printed through `base64`."""
        return base64.b64decode(self.text(section))


class Host:
    """Scripts print `section NAME` before each part of their output; only what stands between these marks is read.

    Without standard input ssh would allocate a terminal and mix standard error into the output, so there is
    always some.
    """

    def __init__(self, name: str, execute: Execute) -> None:
        self.name = name
        self._execute = execute
        self.trips = 0

    def read(self, script: str, *, settled: bool = False) -> Answer:
        """Run a script as root that changes nothing. Raises HostError when it fails.

        The script goes in by standard input, so that sudo does not log all of it; as a function, so that nothing it
        calls can read on in it. `settled`: not before what an earlier run has begun on the host is over.
        """
        wait = f"exec 9< {LOCK}; flock --shared --timeout {_PATIENCE} 9 || {_BUSY}; exec 9<&-"
        start = _ROOT + (f"[ ! -e {LOCK} ] || {{ {wait}; }}\n" if settled else "")
        answer = self._run(
            lambda _prelude: "sh -s",
            lambda prelude: f"{prelude}{start}all() {{\n{script}\n}}\nall </dev/null && section end\n".encode(),
        )
        if answer.failed:
            raise HostError(f"{self.name}: {answer.failed}")
        return answer

    def pipe(self, script: str, data: bytes) -> Answer:
        """Run a script as root with these bytes on its standard input; they touch neither a disk nor an argument.

        The caller looks at `failed`.
        """
        return self._run(lambda prelude: _sh(f"{prelude}set -e\n{_ROOT}{script}\nsection end\n"), lambda _prelude: data)

    def apply(self, script: str, files: Iterable[File] = (), *, root: bool = True) -> Answer:
        """Send files and a script in one stream; the script runs in the directory that holds `files/`.

        The stream is unpacked completely before the script's first line runs, in a directory that only its owner can
        enter and that is gone afterwards: a lost connection or a full disk has changed nothing. As root the script is
        a unit of its own, alone on the host, and finishes also when the connection, sshd or the controller dies.
        The caller looks at `failed`, since a failed change has sections worth reading.
        """
        as_root = (
            f"exec 9> {LOCK}; flock --timeout {_PATIENCE} 9 || {_BUSY}\n"
            f"mkdir -p {STAGING}; rm -rf {STAGING}/staging.*\n"
            f"staging=$(mktemp -d {STAGING}/staging.XXXXXX)\n"
            f'clean() {{ rm -rf "$staging"; rmdir {STAGING} 2>/dev/null || :; }}\n'
        )
        as_anybody = 'staging=$(mktemp -d)\nclean() { rm -rf "$staging"; }\n'
        unpack = (
            # No single quotes here: each layer on the way makes five characters of one.
            f'set -e; umask 077; trap "" PIPE HUP\n{as_root if root else as_anybody}trap clean EXIT\n'
            'tar -xzpf - --numeric-owner -C "$staging"; cd "$staging"\n'
            # What is said goes to files first: nobody who stops to listen can stop it.
            "set +e; (set -e; . ./script) </dev/null > stdout 2> stderr; status=$?\n"
            "cat stdout 2>/dev/null || :; cat stderr >&2 2>/dev/null || :; exit $status"
        )
        return self._run(
            lambda _prelude: _unit(unpack) if root else _sh(unpack),
            lambda prelude: _stream(f"{prelude}{script}\nsection end\n", files),
        )

    def send(self, packed: bytes, path: str, *, append: bool) -> None:
        """Add one gzip-compressed piece to a file on the host, or begin the file with it. Raises HostError."""
        into = f"{'>>' if append else '>'} {shlex.quote(path)}"
        self.trips += 1
        result = self._execute(_sh(f"umask 077; gzip -dc {into}") + _NOT_255, packed)
        if result.get("rc", 0) != 0:
            raise HostError(f"{self.name}: {path}: {_last_lines(str(result.get('stderr', '')))}")

    def _run(self, command: Callable[[str], str], data: Callable[[str], bytes]) -> Answer:
        mark = f"@{secrets.token_hex(8)}"
        prelude = f"export LC_ALL=C; section() {{ printf '\\n%s %s\\n' '{mark}' \"$1\"; }}\n"
        self.trips += 1
        result = self._execute(command(prelude) + _NOT_255, data(prelude))
        sections = _sections(str(result.get("stdout", "")), mark)
        failed = ""
        if result.get("rc", 0) != 0 or "end" not in sections:
            words = str(result.get("stderr", "")).strip()
            failed = _last_lines(words) or f"the script ended early with exit status {result.get('rc')}"
        return Answer(sections, failed)


def _sh(script: str) -> str:
    return "sh -c " + shlex.quote(script)


def _unit(script: str) -> str:
    """The script as a unit of systemd's, which would put variables of its own in the place of `$`."""
    run = "systemd-run --quiet --pipe --wait --collect --description=Ansible "
    return _sh(f"{_ROOT}if [ -d /run/systemd/system ]; then exec {run}{_sh(script.replace('$', '$$'))}; fi\n{script}")


def _sections(output: str, mark: str) -> dict[str, str]:
    """Split output at the lines that begin with the mark; what a section printed keeps its own line ends."""
    sections: dict[str, str] = {}
    name: str | None = None
    body: list[str] = []
    for line in output.split("\n"):
        if line.startswith(mark + " "):
            if name is not None:
                sections[name] = "\n".join(body[:-1] if body and body[-1] == "" else body)
            name, body = line[len(mark) + 1 :].strip(), []
        elif name is not None:
            body.append(line)
    if name is not None:
        sections[name] = "\n".join(body[:-1] if body and body[-1] == "" else body)
    return sections


def _last_lines(words: str, count: int = 12) -> str:
    lines = [line for line in words.splitlines() if line.strip()]
    return "\n".join(lines[-count:])


def _stream(script: str, files: Iterable[File]) -> bytes:
    """A reproducible tar.gz: `script`, and each file at `files/<its absolute path>` with its owner and mode."""
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w", format=tarfile.GNU_FORMAT) as archive:
        _add(archive, "script", script.encode(), 0o600, 0)
        for file in files:
            _add(archive, posixpath.join("files", file.path.lstrip("/")), file.content, file.mode, file.owner)
    return gzip.compress(raw.getvalue(), compresslevel=6, mtime=0)


def _add(archive: tarfile.TarFile, name: str, content: bytes, mode: int, owner: int) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode, entry.uid, entry.gid = len(content), mode, owner, owner
    archive.addfile(entry, io.BytesIO(content))
