# Copyright: the pgfleet team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Leaves on a host: `<directory>/<serial>/{tls.crt,tls.key,ca.crt}`, and `<directory>/current` for the one in force."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from dataclasses import dataclass

from ...pooler.bundle import RELEASES
from ...pooler.certificates import Leaf, LeafState, inspect
from ...pooler.errors import PoolerError
from ...pooler.files import File
from .host import Answer

READERS = RELEASES
"""Whose files name a leaf by its serial: releases that an instance may still run with."""

MODES = {"tls.crt": 0o644, "tls.key": 0o600, "ca.crt": 0o644}


@dataclass(frozen=True)
class FoundLeaf:
    """What lies behind `current`; everything is empty when there is none. `files` is name: (owner, mode, bytes)."""

    serial: str
    certificate: str
    authority: str
    files: dict[str, tuple[int, int, int]]

    def state(self) -> LeafState | None:
        """What the certificate says; None when there is none that can be read."""
        try:
            return inspect(self.certificate)
        except PoolerError:
            return None

    def trouble(self, owner: int) -> list[str]:
        """What is wrong with the files, in words; the key itself is never read."""
        found = []
        for name, mode in MODES.items():
            there = self.files.get(name)
            if there is None or there[2] == 0:
                found.append(f"{name} is {'missing' if there is None else 'empty'}")
            elif there[:2] != (owner, mode):
                found.append(f"{name} has owner {there[0]} and mode {there[1]:04o}, not {owner} and {mode:04o}")
        return found


def read(directories: Iterable[str]) -> str:
    """Print what `found` parses: everything about the leaves that is no secret."""
    return _READ + "".join(f"leaf {number} {shlex.quote(path)}\n" for number, path in enumerate(directories))


def found(answer: Answer, count: int) -> list[FoundLeaf]:
    return [
        FoundLeaf(
            serial=answer.text(f"serial {number}").strip(),
            certificate=answer.text(f"certificate {number}"),
            authority=answer.text(f"authority {number}"),
            files=dict(_file(line) for line in answer.lines(f"files {number}")),
        )
        for number in range(count)
    ]


def inventory(directories: Iterable[str]) -> str:
    """Print all directories of leaves below `directories`, one a line, in the section `leaves`."""
    return _INVENTORY + "".join(f"list {shlex.quote(directory)}\n" for directory in directories)


def files(directory: str, owner: int, leaf: Leaf) -> list[File]:
    """The files of a new leaf, for the stream that `place` reads."""
    contents = {
        "tls.crt": leaf.certificate_pem.encode(),
        "tls.key": leaf.key_pem,
        "ca.crt": leaf.authority_pem.encode(),
    }
    return [
        File(f"{directory}/{leaf.serial_hex}/{name}", contents[name], mode, owner, secret=name == "tls.key")
        for name, mode in MODES.items()
    ]


def place(leaves: Iterable[tuple[str, str]]) -> str:
    """Put each (directory, serial) of the stream in its place and switch to it by one rename.

    The leaf before it stays, for those who read it through `current`, and so does every leaf that `READERS` name.
    """
    return f"readers={shlex.quote(READERS)}\n{_PLACE}" + "".join(
        f"place {shlex.quote(directory)} {serial}\n" for directory, serial in leaves
    )


def remove(directories: Iterable[str]) -> str:
    """Take all leaves away, and the directories when nothing else is in them."""
    return _REMOVE + "".join(f"clear {shlex.quote(directory)}\n" for directory in directories)


def _file(line: str) -> tuple[str, tuple[int, int, int]]:
    name, owner, mode, size = line.split()
    return name, (int(owner), int(mode, 8), int(size))


_READ = """
leaf() {  # number directory
  [ -d "$2/current/" ] || return 0
  section "serial $1"
  readlink "$2/current"
  cd "$2/current/" || exit
  section "certificate $1"
  cat tls.crt 2>/dev/null || :
  section "authority $1"
  cat ca.crt 2>/dev/null || :
  section "files $1"
  for file in tls.crt tls.key ca.crt; do [ ! -f $file ] || stat -L -c '%n %u %a %s' $file; done
}
"""

# Nothing but what holds a leaf, or half of one, is ever removed.
_IS_LEAF = """
is_leaf() {  # directory
  [ -f "$1/tls.key" ] || [ -f "$1/tls.crt" ]
}
"""

# A serial's directory is complete before it gets its name.
_PLACE = (
    _IS_LEAF
    + """
umask 022
place() {  # directory serial
  mkdir -p "$1"
  before=$(readlink "$1/current" || :)
  rm -rf "$1"/.leaf.*
  mkdir "$1/.leaf.$2"
  cp --preserve=mode,ownership "files$1/$2/"* "$1/.leaf.$2/"
  sync "$1/.leaf.$2/"* "$1/.leaf.$2"
  mv -T "$1/.leaf.$2" "$1/$2"
  ln -sfn "$2" "$1/.leaf.current"
  mv -T "$1/.leaf.current" "$1/current"
  sync "$1"
  for old in "$1"/*/; do
    old=${old%/}
    case ${old##*/} in "$2"|"$before"|current) continue ;; esac
    ! is_leaf "$old" || grep -rqsF -- "$old/" "$readers" || rm -rf "$old"
  done
}
"""
)

_INVENTORY = (
    _IS_LEAF
    + """
section leaves
list() {  # directory
  for leaf in "$1"/*/; do
    case $leaf in */current/) continue ;; esac
    ! is_leaf "$leaf" || printf '%s\\n' "${leaf%/}"
  done
}
"""
)

_REMOVE = (
    _IS_LEAF
    + """
clear() {  # directory
  [ -d "$1" ] || return 0
  rm -f "$1/current"
  rm -rf "$1"/.leaf.*
  for old in "$1"/*/; do ! is_leaf "$old" || rm -rf "${old%/}"; done
  rmdir -p --ignore-fail-on-non-empty "$1"
}
"""
)
