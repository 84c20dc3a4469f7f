"""What the guides show is taken by the code that it is for: variables are read and rendered, commands are run."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from pooler import bundle, variables
from pooler.server import Server
from tests.examples import examples, filled, options

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("text", examples("yaml"))
def test_variables_of_an_example_render(text: str) -> None:
    pooler = variables.read(options(filled(text)))
    made = bundle.build(pooler, bundle.Facts(Server("db1"), "/etc/pgbouncer/tls/s", "/etc/pgbouncer/tls/c"))
    assert made.release_files


@pytest.mark.parametrize("text", examples(""))
def test_command_of_an_example_says_what_the_page_shows(text: str, tmp_path: Path) -> None:
    """Lines with `$` are run; `…` in what they print stands for anything."""
    lines = text.splitlines()
    commands = [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]
    shown = "\n".join(line for line in lines if not line.startswith("$ "))
    pooler = tmp_path / "pooler"
    pooler.write_text(f'#!/bin/sh\nexec {sys.executable} -m pooler.cli "$@"\n')
    pooler.chmod(0o755)
    environment = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    script = "\n".join(commands)
    done = subprocess.run(
        ["sh", "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    pattern = re.escape(shown.strip()).replace("…", ".*")
    assert re.fullmatch(pattern, (done.stdout + done.stderr).strip(), re.DOTALL), done
