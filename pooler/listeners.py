"""Taking a listening port away from a process that holds a copy of it (Linux, pidfd_getfd(2)).

A socket that systemd passed through podman is held by podman's monitor as well. As long as any copy listens, the
kernel's SO_REUSEPORT group goes on giving it connections, which nobody will accept. shutdown(2) ends it for all
holders at once, and with net.ipv4.tcp_migrate_req=1 what has queued moves to the other sockets of the group.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import socket
from pathlib import Path

_PIDFD_GETFD = 438
"""The system call's number, the same on every architecture of Linux."""


def release(pid: int, port: int) -> int:
    """Stop listening on a TCP port through whatever copies process `pid` has; gives how many sockets did.

    Needs CAP_SYS_PTRACE over the process. Raises OSError.
    """
    library = ctypes.CDLL(None, use_errno=True)
    released = 0
    process = os.pidfd_open(pid)
    try:
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(FileNotFoundError):
                if not str(entry.readlink()).startswith("socket:"):
                    continue
                descriptor = library.syscall(_PIDFD_GETFD, process, int(entry.name), 0)
                if descriptor < 0:
                    raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), f"/proc/{pid}/fd/{entry.name}")
                released += _release(descriptor, port)
    finally:
        os.close(process)
    return released


def _release(descriptor: int, port: int) -> int:
    with socket.socket(fileno=descriptor) as held:
        if held.family not in (socket.AF_INET, socket.AF_INET6) or held.getsockname()[1] != port:
            return 0
        if not held.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            return 0
        held.shutdown(socket.SHUT_RD)
        return 1
