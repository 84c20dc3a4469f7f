"""A cgroup for every lab with one inside for every host: what counts a host's processes, and what ends them all."""

from __future__ import annotations

import select
from pathlib import Path

from .errors import LabError
from .network import PREFIX
from .requirements import cgroup_root


def host_cgroup(lab: str, host: str) -> Path:
    return lab_cgroup(lab) / host


def lab_cgroup(lab: str) -> Path:
    return cgroup_root() / f"{PREFIX}{lab}"


def labs() -> set[str]:
    """Labs that have a cgroup."""
    return {path.name.removeprefix(PREFIX) for path in cgroup_root().glob(f"{PREFIX}*")}


def populated(group: Path) -> bool:
    """Whether a process lives in the group or below."""
    try:
        return "populated 1" in (group / "cgroup.events").read_text()
    except FileNotFoundError:
        return False


def first_process(group: Path) -> int:
    """The PID, as seen here, of the host's own PID 1. Raises LabError when the host is not running."""
    depth = len(_namespaced_pids("self"))
    for file in group.rglob("cgroup.procs"):
        for pid in file.read_text().split():
            numbers = _namespaced_pids(pid)
            if len(numbers) == depth + 1 and numbers[-1] == "1":
                return int(pid)
    raise LabError(f"host {group.name} is not running")


def end(group: Path) -> None:
    """SIGKILL to every process below, as one act of the kernel; then the groups are removed."""
    if not group.exists():
        return
    with (group / "cgroup.events").open() as events:
        poller = select.poll()
        poller.register(events, select.POLLPRI)
        (group / "cgroup.kill").write_text("1")
        while "populated 1" in events.read():
            if not poller.poll(30_000):
                raise LabError(f"processes of {group} do not end, even by SIGKILL")
            events.seek(0)
    for below in sorted((path for path in group.rglob("*") if path.is_dir()), reverse=True):
        below.rmdir()
    group.rmdir()


def _namespaced_pids(pid: str) -> list[str]:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return []
    return next((line.split()[1:] for line in status.splitlines() if line.startswith("NSpid:")), [])
