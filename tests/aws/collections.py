"""The collection amazon.aws without a galaxy server: it is a folder of a package on PyPI, and only that is kept.

The package holds a hundred collections; what we unpack of it into the cache is 5 MB.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from tests.lab import cache

ROOT = Path(__file__).parents[2]
# amazon.aws 10.1.2
PACKAGE = "ansible==12.3.0"
FOLDER = "ansible_collections/amazon/aws/"


def link(collections: Path = ROOT / "build") -> Path:
    """Make amazon.aws importable below `collections`; gives the link."""
    place = cache.entry("amazon-aws", {"package": PACKAGE, "folder": FOLDER}, _unpack)
    found = collections / FOLDER.rstrip("/")
    found.parent.mkdir(parents=True, exist_ok=True)
    if found.is_symlink() and found.readlink() == place / FOLDER:
        return found
    found.unlink(missing_ok=True)
    found.symlink_to(place / FOLDER)
    return found


def _unpack(place: Path) -> None:
    with tempfile.TemporaryDirectory() as directory:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:"]
        subprocess.run([*command, "--dest", directory, PACKAGE], check=True)
        (wheel,) = Path(directory).glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(place, [name for name in archive.namelist() if name.startswith(FOLDER)])


if __name__ == "__main__":
    link()
