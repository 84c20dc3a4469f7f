"""What is installed by `pip install`: the package with every room below it."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

CHECKOUT = Path(__file__).parents[2]


def test_the_wheel_holds_every_module_of_the_checkout_and_its_data(tmp_path: Path) -> None:
    source = tmp_path / "source"
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(CHECKOUT / "pooler", source / "pooler", ignore=ignored)
    shutil.copy(CHECKOUT / "pyproject.toml", source)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*command, "--wheel-dir", str(tmp_path), str(source)], check=True, capture_output=True)
    (wheel,) = tmp_path.glob("pooler-*.whl")
    wanted = {str(path.relative_to(source)) for path in (source / "pooler").rglob("*.py")} | {"pooler/settings.json"}
    assert "pooler/agent/__init__.py" in wanted
    assert wanted - set(zipfile.ZipFile(wheel).namelist()) == set()
