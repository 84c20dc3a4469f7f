"""A host like Fedora CoreOS: Ignition, as Debian packages it, writes its disk before it boots for the first time.

On a real host the initramfs does this, in the host's own network; here it is the controller's side of the lab.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from . import debian, network
from .command import run
from .spec import HostSpec, LabSpec
from .state import Paths

# As on Fedora CoreOS, where sshd asks for this file as well; no key of the lab lets anybody in.
_SSHD = """\
HostKey /etc/ssh/ssh_host_ed25519_key
AuthorizedKeysFile .ssh/authorized_keys.d/ignition .ssh/authorized_keys
PasswordAuthentication no
PermitRootLogin no
MaxStartups 100
MaxSessions 100
UseDNS no
"""

# The stages that concern files, in the order of a boot. Each finds the config that the one before has left.
_STAGES = ("fetch-offline", "fetch", "files")
_IGNITE = """
set -eu
mount -t overlay overlay -o "lowerdir=$LOWER,upperdir=$DISK/upper,workdir=$DISK/work" "$DISK/root"
mount --bind "$DISK/containers" "$DISK/root/var/lib/containers"
# Keys are written as the user they are for, who may not pass through everybody's directories.
mount --rbind "$DISK/root" /mnt
# No SELinux can be had here: what Ignition would have labelled is written down.
printf '#!/bin/sh\ntr "\\\\0" "\\\\n" > "$DISK/labelled"\n' > "$STATE/setfiles"
chmod 0755 "$STATE/setfiles"
export PATH="$STATE:$PATH"
for stage in $STAGES; do
  "$IGNITION" -root /mnt -stage "$stage" -config-cache "$STATE/config" -neednet "$STATE/neednet" \\
    -state-file "$STATE/state" -log-to-stdout "$@" >> "$DISK/ignition.log" 2>&1 || {
    tail -n 15 "$DISK/ignition.log" >&2
    exit 1
  }
done
"""


def ignition() -> Path:
    """Debian's ignition package and what it needs, as a directory."""
    return debian.tree("ignition", debian.Recipe(packages=("ignition",)))


def validator() -> Path:
    """The program that says whether a config is one."""
    return ignition() / "usr/bin/ignition-validate"


def prepare(etc: Path) -> None:
    """What distinguishes the disk of such a host before its first boot."""
    (etc / "ssh/sshd_config.d").mkdir(parents=True)
    (etc / "ssh/sshd_config.d/lab.conf").write_text(_SSHD)
    # Ignition asks it whether files are to be labelled.
    (etc / "selinux").mkdir()
    (etc / "selinux/config").write_text("SELINUX=disabled\nSELINUXTYPE=targeted\n")


def ignite(lab: LabSpec, host: HostSpec, options: Sequence[str], environment: Mapping[str, str]) -> None:
    """Have Ignition write the disk. Raises LabError with its words; the disk may be half written then."""
    disk = Paths(lab.name).host(host.name)
    with tempfile.TemporaryDirectory() as state:
        run(
            [
                *("ip", "netns", "exec", network.lab_namespace(lab.name)),
                *("unshare", "--mount", "--propagation=private", "sh", "-c", _IGNITE, "ignite", *options),
            ],
            env={
                **os.environ,
                **environment,
                "DISK": str(disk),
                "LOWER": str((disk / "lower").resolve()),
                "STATE": state,
                "STAGES": " ".join(_STAGES),
                "IGNITION": str(ignition() / "usr/lib/dracut/modules.d/30ignition/ignition"),
            },
        )
