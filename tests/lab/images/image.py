"""What an image is, and how one is made of a plain root directory."""

from __future__ import annotations

import contextlib
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from .. import cache
from ..command import progress, run
from ..errors import LabError


@dataclass(frozen=True)
class Image:
    """`store`: an additional image store that holds only this image. `root`: its files, to be read, not written."""

    reference: str
    store: Path
    root: Path


def from_root(name: str, reference: str, root: Path, changes: Sequence[str]) -> Image:
    """An image of one layer with the files of `root`; `changes` are lines as in a Containerfile."""

    def build(unfinished: Path) -> None:
        with progress(f"importing image {reference}"):
            with opened(unfinished / "store") as store:
                store.import_root(root, reference, changes)

    recipe = [root.parent.name, reference, *changes]
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
            "podman",
            f"--root={self.place}",
            f"--runroot={self.scratch / 'run'}",
            f"--tmpdir={self.scratch / 'tmp'}",
            "--storage-driver=overlay",
            "--events-backend=none",
            "--cgroup-manager=cgroupfs",
        ]

    def import_root(self, root: Path, reference: str, changes: Sequence[str]) -> None:
        command = [*self.podman, "import", "--quiet", *(f"--change={change}" for change in changes), "-", reference]
        with subprocess.Popen(
            ["tar", "--create", "--numeric-owner", "--xattrs", f"--directory={root}", "."], stdout=subprocess.PIPE
        ) as tar:
            done = subprocess.run(command, stdin=tar.stdout, capture_output=True, text=True, check=False)
        if done.returncode or tar.returncode:
            raise LabError(f"podman could not import {reference}\n{done.stderr.strip()}")


@contextlib.contextmanager
def opened(place: Path) -> Iterator[Store]:
    """A store to be filled; afterwards only what an additional image store is read for is left of it."""
    # podman takes no runroot of more than 50 characters
    with tempfile.TemporaryDirectory(prefix="lab-podman-", dir="/run") as scratch:
        yield Store(place, Path(scratch))
        mounts = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
        for mount in reversed(mounts):
            if mount.startswith((f"{place}/", f"{scratch}/")):
                run(["umount", mount])
    for leftover in ("libpod", "db.sql", "defaultNetworkBackend", "networks", "volumes"):
        cache.remove(place / leftover)
