"""The project's own image, built from its very Containerfile over a base made of Debian packages."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path

from .. import cache, debian
from ..command import progress, run
from ..errors import LabError
from .image import Image, Store, opened

_SOURCE = Path(__file__).parents[3] / "pooler"
_BASE = "docker.io/library/debian:trixie-slim"


def reference() -> str:
    """The image's name, with the package's version as tag."""
    match = re.search(r'__version__ = "(.+)"', (_SOURCE / "__init__.py").read_text())
    assert match, "pooler/__init__.py has no __version__"
    return f"localhost/pgfleet/pooler:{match[1]}"


def image() -> Image:
    built = _built()
    return Image(reference(), built / "store", built / "root")


def archive() -> Path:
    """The image as an OCI archive, as `podman load` reads it."""
    return _built() / "pooler.tar"


def _built() -> Path:
    base = debian.tree("base", debian.Recipe(packages=()))
    sources = [path for path in sorted(_SOURCE.rglob("*")) if path.is_file() and "__pycache__" not in path.parts]
    recipe = [base.parent.name, reference(), {str(path.relative_to(_SOURCE)): path.read_text() for path in sources}]

    def build(unfinished: Path) -> None:
        with progress(f"building {reference()} from pooler/Containerfile"):
            _build(base, unfinished)

    return cache.entry("pooler", recipe, build)


def _build(base: Path, place: Path) -> None:
    archive = place / "pooler.tar"
    with _workshop(base) as store:
        run(
            [
                *(*store.podman, "build", "--layers", "--isolation=chroot", "--pull=never", "--format=oci"),
                *(f"--tag={reference()}", str(_SOURCE)),
            ],
            # What podman copies while it builds is large, too large for some machines' /tmp.
            env={**os.environ, "TMPDIR": str(place)},
        )
        save = [*store.podman, "save", "--quiet", "--uncompressed", "--format=oci-archive", f"--output={archive}"]
        run([*save, reference()])
        store.copy_root(reference(), place / "root")
    with opened(place / "store") as store:
        run([*store.podman, "load", "--quiet", f"--input={archive}"])


@contextlib.contextmanager
def _workshop(base: Path) -> Iterator[Store]:
    """The store in which it is built. It stays, so that a changed line of Python does not install packages anew."""
    place = cache.root() / "workshop" / base.parent.name
    with cache.locked("workshop"):
        if not place.exists():
            cache.remove(place.parent)  # of another base
            place.mkdir(parents=True)
            with opened(place) as store:
                store.import_root(base, _BASE, [], {})
        try:
            with opened(place) as store:
                yield store
        except LabError:
            cache.remove(place)
            raise
