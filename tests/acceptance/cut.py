"""A play that dies at a chosen point: it calls this instead of ssh, and this kills it there, SIGKILL and all.

Points are counted over all scripts that change the host: before one is sent, in the middle of its stream, and at each
of its steps. At a step either the script dies with the play, by SIGKILL to its whole process group, or sshd on the
host does with all its sessions.

`python -m tests.acceptance.cut FILE ssh-arguments…`; FILE is JSON of a `Cut`.
"""

from __future__ import annotations

import gzip
import io
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import tarfile
import threading
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

from .playbook import Run, run
from .scenario import Scenario

Victim = Literal["script", "sshd"]
_KILLS = {"script": "kill -KILL 0", "sshd": "systemctl kill --signal=KILL ssh.service"}


@dataclass(frozen=True)
class Cut:
    """`point` counts from 1; `passed`: points of the `scripts` that have ended; `where`: where it was cut, in words.

    With a `function`, which is one of the scripts', the point is where that is called first, and no other.
    """

    point: int
    victim: Victim
    test: int
    function: str = ""
    passed: int = 0
    scripts: int = 0
    where: str = ""


def interrupted(
    scenario: Scenario,
    directory: Path,
    playbook: str,
    *options: str,
    point: int = 0,
    victim: Victim = "script",
    function: str = "",
) -> tuple[str, Run]:
    """Where the play was cut, and what it had said by then; nowhere when it was over before that point."""
    state, ssh = directory / "cut.json", directory / "ssh"
    _write(state, Cut(point, victim, os.getpid(), function))
    words = [sys.executable, "-m", "tests.acceptance.cut", str(state)]
    ssh.write_text(f'#!/bin/sh\ncd {shlex.quote(str(scenario.project))}\nexec {shlex.join(words)} "$@"\n')
    ssh.chmod(0o755)
    ended = run(scenario, playbook, *options, "--extra-vars", f"ansible_ssh_executable={ssh}")
    return _read(state).where, ended


def main() -> int:
    state, arguments = Path(sys.argv[1]), ["ssh", *sys.argv[2:]]
    if "tar -xzpf" not in arguments[-1]:
        os.execvp("ssh", arguments)
    cut = _read(state)
    left, name = cut.point - cut.passed, f"script {cut.scripts + 1}"
    if left == 1:
        _die(state, cut, f"before {name}")
    with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as ssh:
        assert ssh.stdin
        assert ssh.stdout
        said: list[bytes] = []
        listener = threading.Thread(target=_pass_on, args=(ssh.stdout, said))
        listener.start()
        stream = sys.stdin.buffer.read()
        if left == 2:
            ssh.stdin.write(stream[: len(stream) // 2])
            ssh.stdin.flush()
            ssh.kill()
            _die(state, cut, f"in the stream of {name}")
        ssh.stdin.write(_with_death(stream, cut, left - 2))
        ssh.stdin.close()
        status = ssh.wait()
        listener.join()
    steps = re.findall(rb"^@[0-9a-f]{16} step (.*)$", b"".join(said), re.MULTILINE)
    if status in (137, 254, 255):
        _die(state, cut, f"in {cut.function}" if cut.function else f"at step {left - 2} of {name}")
    _write(state, replace(cut, passed=cut.passed + 2 + len(steps), scripts=cut.scripts + 1))
    return status


def _pass_on(source: io.BufferedReader, said: list[bytes]) -> None:
    while piece := os.read(source.fileno(), 65536):
        said.append(piece)
        sys.stdout.buffer.write(piece)
        sys.stdout.buffer.flush()


def _with_death(stream: bytes, cut: Cut, step: int) -> bytes:
    """The stream with a script that kills when it says that it begins this step, or in the function."""
    kill, changed = _KILLS[cut.victim], io.BytesIO()
    if cut.function:
        place, death = rf"\n{cut.function}\(\) \{{", f"\n{cut.function}() {{ {kill};"
    else:
        place = r'"\$1"; \}\n'
        death = (
            f'"$1"; case $1 in step*) steps=$((steps + 1)); [ $steps != {step} ] || {{ {kill}; }};; esac; }}\nsteps=0\n'
        )
    with (
        tarfile.open(fileobj=io.BytesIO(stream), mode="r:gz") as before,
        tarfile.open(fileobj=changed, mode="w", format=tarfile.GNU_FORMAT) as after,
    ):
        for entry in before:
            file = before.extractfile(entry)
            assert file
            content = file.read()
            if entry.name == "script":
                content, count = re.subn(place.encode(), lambda _match: death.encode(), content, count=1)
                # Not every script has the function; where none has it, nothing is cut, and the test says so.
                assert count == 1 or cut.function, "the script is no longer as this expects"
                entry.size = len(content)
            after.addfile(entry, io.BytesIO(content))
    return gzip.compress(changed.getvalue())


def _die(state: Path, cut: Cut, where: str) -> None:
    """SIGKILL to the play from the top: whoever is between the test and us, then us."""
    _write(state, replace(cut, where=where))
    ancestors, pid = [], os.getpid()
    while pid not in (cut.test, 1):
        ancestors.append(pid)
        pid = int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])
    for each in reversed(ancestors):
        os.kill(each, signal.SIGKILL)


def _read(state: Path) -> Cut:
    return Cut(**json.loads(state.read_text()))


def _write(state: Path, cut: Cut) -> None:
    state.write_text(json.dumps(asdict(cut)))


if __name__ == "__main__":
    sys.exit(main())
