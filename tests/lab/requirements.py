"""What a machine must have before a lab can be booted on it."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from .errors import LabError

# program -> Debian package that brings it
PROGRAMS = {
    "mmdebstrap": "mmdebstrap",
    "systemd-nspawn": "systemd-container",
    "ip": "iproute2",
    "nsenter": "util-linux",
    "setpriv": "util-linux",
    "podman": "podman",
    "ssh": "openssh-client",
    "nc": "netcat-openbsd",
}


def check() -> None:
    """Raise LabError, in one line, when this machine cannot hold a lab."""
    if os.geteuid() != 0:
        raise LabError("the lab needs root: it makes network namespaces, mounts and cgroups (run it with sudo)")
    missing = sorted({package for program, package in PROGRAMS.items() if not shutil.which(program)})
    if missing:
        raise LabError(f"packages are missing: apt-get install --no-install-recommends {' '.join(missing)}")
    probe = subprocess.run(
        ["unshare", "--mount", "--net", "--pid", "--fork", "mount", "-t", "tmpfs", "lab", "/mnt"],
        capture_output=True,
        text=True,
        check=False,
    )
    if probe.returncode:
        raise LabError(
            "this machine lets root make no namespaces or mounts "
            f"({probe.stderr.strip()}); the lab needs a virtual machine or a privileged container"
        )
    cgroup_root()


def cgroup_root() -> Path:
    """Where the cgroup v2 tree is mounted: alone, or beside v1 (hybrid)."""
    for place in (Path("/sys/fs/cgroup"), Path("/sys/fs/cgroup/unified")):
        if (place / "cgroup.procs").exists() and (place / "cgroup.subtree_control").exists():
            return place
    raise LabError("no cgroup v2 tree is mounted under /sys/fs/cgroup (mount -t cgroup2 none /sys/fs/cgroup/unified)")
