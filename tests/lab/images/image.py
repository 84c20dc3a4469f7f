"""What an image is, and how one is made of a plain root directory."""

from __future__ import annotations

import contextlib
import os
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from .. import cache
from ..command import ALONE, progress, run
from ..errors import LabError


@dataclass(frozen=True)
class Image:
    """`store`: an additional image store that holds only this image. `root`: its files, to be read, not written."""

    reference: str
    store: Path
    root: Path


def from_root(
    name: str, reference: str, root: Path, changes: Sequence[str], programs: Mapping[str, Path] | None = None
) -> Image:
    """An image of one layer with the files of `root`; `changes` are lines as in a Containerfile.

    `programs` are added: path in the image to the file here.
    """
    programs = programs or {}

    def build(unfinished: Path) -> None:
        with progress(f"importing image {reference}"), opened(unfinished / "store") as store:
            store.import_root(root, reference, changes, programs)

    recipe = [root.parent.name, reference, changes, {path: file.read_text() for path, file in programs.items()}]
    return Image(reference, cache.entry(f"store-{name}", recipe, build) / "store", root)


@dataclass(frozen=True)
class Store:
    """A podman store on this machine; `scratch` is what podman forgets at a reboot."""

    place: Path
    scratch: Path

    @property
    def podman(self) -> list[str]:
        """How podman is called for this store; it needs no cgroup and no network for what we do."""
        return [
            *ALONE,
            "podman",
            f"--root={self.place}",
            f"--runroot={self.scratch / 'run'}",
            f"--tmpdir={self.scratch / 'tmp'}",
            "--storage-driver=overlay",
            "--events-backend=none",
            "--cgroup-manager=cgroupfs",
        ]

    def copy_root(self, reference: str, target: Path) -> None:
        """The files of an image as a plain directory."""
        script = 'cp --archive "$("$@" image mount "$REFERENCE")" "$TARGET"'
        inner = self.podman[len(ALONE) :]
        environment = {**os.environ, "REFERENCE": reference, "TARGET": str(target)}
        run([*ALONE, "sh", "-euc", script, "sh", *inner], env=environment)

    def import_root(self, root: Path, reference: str, changes: Sequence[str], programs: Mapping[str, Path]) -> None:
        pack = ["tar", "--create", "--numeric-owner", "--xattrs", f"--directory={root}", "."]
        for path, file in programs.items():
            pack += [f"--directory={file.parent}", f"--transform=s,^{file.name}$,.{path},", file.name]
        command = [*self.podman, "import", "--quiet", *(f"--change={change}" for change in changes), "-", reference]
        with subprocess.Popen(pack, stdout=subprocess.PIPE) as tar:
            done = subprocess.run(command, stdin=tar.stdout, capture_output=True, text=True, check=False)
        if done.returncode or tar.returncode:
            raise LabError(f"podman could not import {reference}\n{done.stderr.strip()}")


@contextlib.contextmanager
def opened(place: Path) -> Iterator[Store]:
    """A store to be filled; afterwards only what an additional image store is read for is left of it."""
    # podman takes no runroot of more than 50 characters
    with tempfile.TemporaryDirectory(prefix="lab-podman-", dir="/run") as scratch:
        yield Store(place, Path(scratch))
    for leftover in ("libpod", "db.sql", "defaultNetworkBackend", "networks", "volumes"):
        cache.remove(place / leftover)
