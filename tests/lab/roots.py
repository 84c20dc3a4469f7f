"""The root of every lab host: Debian 13 with systemd, podman and sshd, as bare as Fedora CoreOS (no Python)."""

from __future__ import annotations

from pathlib import Path

from . import debian
from .errors import LabError

PACKAGES = (
    "systemd",
    "systemd-sysv",
    "dbus",
    "podman",
    "crun",
    "netavark",
    "aardvark-dns",
    "nftables",
    "iproute2",
    "openssh-server",
    "sudo",
    "uidmap",
    "ca-certificates",
    "procps",
)

FILES = {
    # No pids controller reaches a nested cgroup on every machine.
    "/etc/containers/containers.conf": "[containers]\npids_limit = 0\n",
    # One key file for every account, so that a host is given its keys under /etc alone.
    "/etc/ssh/sshd_config.d/lab.conf": (
        "HostKey /etc/ssh/ssh_host_ed25519_key\n"
        "AuthorizedKeysFile /etc/ssh/lab_keys\n"
        "PasswordAuthentication no\n"
        "PermitRootLogin prohibit-password\n"
        "MaxStartups 100\n"
        "MaxSessions 100\n"
        "UseDNS no\n"
    ),
    "/etc/sudoers.d/core": "core ALL=(ALL) NOPASSWD: ALL\n",
}

# A machine-id is given to each host; podman writes /var/lib/containers, which is a plain directory bound over.
# The masked units cannot work in a container, or would only make every boot slower.
SCRIPT = """
rm -f /etc/ssh/ssh_host_* /etc/machine-id /etc/hostname
useradd --create-home --uid 1000 --shell /bin/bash core
chmod 0440 /etc/sudoers.d/core
mkdir -p /var/lib/containers /var/log/journal
systemctl mask apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer fstrim.timer \
    podman-auto-update.timer console-getty.service getty@.service systemd-networkd.service \
    systemd-modules-load.service modprobe@.service dev-hugepages.mount sys-kernel-debug.mount sys-kernel-tracing.mount
systemctl enable ssh.service
systemctl set-default multi-user.target
"""


def host_root() -> Path:
    """The read-only root directory that all hosts share as the lower layer of their overlay."""
    root = debian.tree("host", debian.Recipe(PACKAGES, files=FILES, script=SCRIPT))
    if found := [str(file) for file in root.glob("usr/bin/python3*")]:
        raise LabError(f"the host root has Python ({found[0]}): hosts must be as bare as Fedora CoreOS")
    return root
