"""The way into a container, where the OCI runtime is another one or SELinux is in the way: stand-ins for crun."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from pooler.shell import ENTER


@pytest.mark.parametrize(
    ("stand_in", "way"),
    [
        ('shift 3; exec "$@"', "crun exec --no-new-privs "),
        # The kernel puts /dev/null in the place of a pipe that the container may not use.
        ('shift 3; exec "$@" </dev/null >/dev/null', "podman exec pgbouncer-50001"),
        ("exit 1", "podman exec pgbouncer-50001"),
        (None, "podman exec pgbouncer-50001"),
    ],
)
def test_podman_is_the_way_where_what_is_said_does_not_get_through(
    tmp_path: Path, stand_in: str | None, way: str
) -> None:
    for tool in ("cat", "timeout"):
        (tmp_path / tool).symlink_to(f"/usr/bin/{tool}")
    if stand_in:
        (tmp_path / "crun").write_text(f"#!/bin/sh\n{stand_in}\n")
        (tmp_path / "crun").chmod(0o755)
    said = subprocess.run(
        ["/bin/sh", "-c", f"{ENTER}\nenter 50001"],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PATH": str(tmp_path)},
    )
    assert said.stdout == f"{way}\n"
