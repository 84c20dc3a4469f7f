"""Running programs: their words when they fail, a line on the terminal while they take long."""

from __future__ import annotations

import contextlib
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence

from .errors import LabError

ALONE = ("setpriv", "--pdeathsig=KILL", "unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--")
"""Before a long command: it leaves no mount behind, and it and all its children end when we do, however we end."""


def run(
    command: Sequence[str], *, input_text: str | None = None, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run to the end with captured output. Raises LabError with the program's last words when it fails."""
    try:
        return subprocess.run(command, check=True, text=True, capture_output=True, input=input_text, env=env)
    except subprocess.CalledProcessError as error:
        words = (error.stderr or error.stdout or "").strip().splitlines()
        raise LabError(
            f"{shlex.join(command)[:300]} ended with {error.returncode}\n" + "\n".join(words[-15:])
        ) from error


@contextlib.contextmanager
def progress(what: str) -> Iterator[None]:
    """Say on stderr what begins, and how long it took when that was noticeable (over two seconds)."""
    say(f"{what} …")
    begin = time.monotonic()
    yield
    took = time.monotonic() - begin
    if took > 2:
        say(f"{what}: done in {took:.0f} s")


def say(line: str) -> None:
    print(f"lab: {line}", file=sys.stderr, flush=True)
