"""Collections of others without a galaxy server: each is a folder of a package on PyPI, and only that is kept.

The package holds a hundred collections; what we unpack of it into the cache is 5 MB for amazon.aws.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import zipfile
from functools import partial
from pathlib import Path

from tests.lab import cache

ROOT = Path(__file__).parents[2]
# amazon.aws 10.1.2
PACKAGE = "ansible==12.3.0"
AMAZON = "amazon.aws"


def link(collections: Path = ROOT / "build", name: str = AMAZON) -> Path:
    """Make the collection importable below `collections`; gives the link."""
    folder = f"ansible_collections/{name.replace('.', '/')}/"
    recipe = {"package": PACKAGE, "folder": folder}
    place = cache.entry(name.replace(".", "-"), recipe, partial(_unpack, folder))
    found = collections / folder.rstrip("/")
    found.parent.mkdir(parents=True, exist_ok=True)
    if found.is_symlink() and found.readlink() == place / folder:
        return found
    found.unlink(missing_ok=True)
    found.symlink_to(place / folder)
    return found


def _unpack(folder: str, place: Path) -> None:
    with tempfile.TemporaryDirectory() as directory:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:"]
        subprocess.run([*command, "--dest", directory, PACKAGE], check=True)
        (wheel,) = Path(directory).glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(place, [name for name in archive.namelist() if name.startswith(folder)])


if __name__ == "__main__":
    link()
