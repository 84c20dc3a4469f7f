"""What processes use, by their control group in the lab: CPU of all that ever were in it, memory of those that are."""

from __future__ import annotations

from pathlib import Path

from tests.lab import cgroups


def unit(lab: str, host: str, *names: str) -> list[Path]:
    """The groups of a host's units, by name or pattern."""
    group = cgroups.host_cgroup(lab, host)
    return [path for name in names for path in sorted(group.rglob(name)) if path.is_dir()]


def new(lab: str, name: str) -> Path:
    """A group of the lab for processes on this side; it goes with the lab."""
    group = cgroups.lab_cgroup(lab) / name
    group.mkdir(exist_ok=True)
    return group


def cpu(*groups: Path) -> float:
    """Seconds."""
    used = (dict(line.split() for line in (group / "cpu.stat").read_text().splitlines()) for group in groups)
    return sum(int(each["usage_usec"]) for each in used) / 1e6


def waits(group: Path) -> float:
    """How often threads that are in it now have waited for something."""
    threads = [thread for file in group.rglob("cgroup.threads") for thread in file.read_text().split()]
    lines = [line for thread in threads for line in Path(f"/proc/{thread}/status").read_text().splitlines()]
    return float(sum(int(line.split()[1]) for line in lines if line.startswith("voluntary_ctxt_switches:")))


def memory(*groups: Path) -> float:
    """MiB that the processes would give back if they all ended (PSS)."""
    files = [file for group in groups for file in group.rglob("cgroup.procs")]
    return sum(_pss(pid) for file in files for pid in file.read_text().split()) / 1024


def _pss(pid: str) -> int:
    """KiB."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0)
