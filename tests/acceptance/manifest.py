"""What is on a host, to be compared with later. `python -m tests.acceptance.manifest DIRECTORY` writes every host's."""

from __future__ import annotations

import sys
from pathlib import Path

from . import scenario
from .remote import Remote
from .scenario import DATABASE, POOLER

HOSTS = (DATABASE, POOLER)

# The host's own disk, without what systemd, podman and ssh write by themselves whenever they are asked.
_EVERYTHING = """
podman images >/dev/null
find / -xdev \\( -path /proc -o -path /sys -o -path /dev -o -path /run -o -path /var/log -o -path /var/lib/containers \\
  -o -path /var/lib/systemd -o -path /var/cache -o -path /tmp/systemd-private-\\* \\) -prune -o -type f \\
  -printf '%p %m %U %G %s %T@\\n' -o -printf '%p %m %U %G\\n' | sort
find /etc -type f -exec sha256sum {} + | sort
podman ps --all --format '{{.Names}}'
systemctl list-unit-files --no-legend
"""


def everything(remote: Remote) -> set[str]:
    """A line for each file, container and unit."""
    return set(remote.sh(_EVERYTHING).splitlines())


def saved(name: str) -> set[str]:
    """What `main` found on the host."""
    return set((scenario.current().directory / "bare" / name).read_text().splitlines())


def main() -> None:
    directory = Path(sys.argv[1])
    directory.mkdir(exist_ok=True)
    for name in HOSTS:
        (directory / name).write_text("\n".join(sorted(everything(Remote(scenario.current(), name)))))


if __name__ == "__main__":
    main()
