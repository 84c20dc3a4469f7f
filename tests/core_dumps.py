"""Processes in containers of a host that could leave their memory, keys and passwords included, in a file."""

from __future__ import annotations

from collections.abc import Callable

# conmon and what podman runs beside a container are not in its namespace of processes, so top leaves them out.
_COULD = """
for container in $(podman ps --format '{{.Names}}'); do
  for process in $(podman top "$container" hpid | sed 1d); do
    [ ! -r "/proc/$process/limits" ] || grep -Eq '^Max core file size +0 +0 ' "/proc/$process/limits" ||
      echo "$container: $(cat "/proc/$process/comm")"
  done
done
"""


def could_dump(sh: Callable[[str], str]) -> set[str]:
    """Container and name of each. `sh` runs a script on the host as root and gives what it prints."""
    return set(sh(_COULD).splitlines())
