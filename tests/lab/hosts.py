"""One host: its disk, its boot, its sudden death."""

from __future__ import annotations

import os
import selectors
import socket
import subprocess
import time
import uuid
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path

from . import access, cgroups, first_boot, network
from .errors import LabError
from .spec import HostSpec, LabSpec
from .state import Paths

_BOOT_TIMEOUT = 90  # seconds; a boot takes two to five
_STORES = "/var/lib/lab-images"

# Joins the host's cgroup, stacks its disk in a mount namespace of its own (so that no mount outlives the host), boots.
_BOOT = """
set -eu
echo $$ > "$CGROUP/cgroup.procs"
mount -t overlay overlay -o "lowerdir=$LOWER,upperdir=$DISK/upper,workdir=$DISK/work" "$DISK/root"
exec systemd-nspawn "$@"
"""


def prepare(lab: LabSpec, host: HostSpec, authorized_key: str, root: Path, stores: Mapping[str, Path]) -> str:
    """Give the host an empty disk over `root`, its images and its identity. Returns the public key it shows to ssh.

    `stores`: image name to the directory of its additional image store.
    """
    disk = Paths(lab.name).host(host.name)
    for directory in ("upper/etc/ssh", "upper/etc/containers", "work", "root", "containers", "images"):
        (disk / directory).mkdir(parents=True)
    (disk / "lower").symlink_to(root)
    for name in host.images:
        (disk / "images" / name).symlink_to(stores[name])
    etc = disk / "upper/etc"
    (etc / "hostname").write_text(f"{host.name}\n")
    (etc / "hosts").write_text(network.hosts_file(lab))
    (etc / "machine-id").write_text(f"{uuid.uuid4().hex}\n")
    if host.system == "coreos":
        first_boot.prepare(etc)
    else:
        (etc / "ssh/lab_keys").write_text(authorized_key)
    (etc / "containers/storage.conf").write_text(_storage_conf(host))
    access.new_key(str(etc / "ssh/ssh_host_ed25519_key"), host.name)
    return (etc / "ssh/ssh_host_ed25519_key.pub").read_text()


def boot(lab: LabSpec, hosts: Iterable[HostSpec]) -> None:
    """Connect and boot prepared hosts side by side; returns when systemd in each says that it is ready.

    Raises LabError with the end of the console's log when a host dies or does not become ready in time.
    """
    with ExitStack() as stack:
        selector = stack.enter_context(selectors.DefaultSelector())
        for host in hosts:
            network.connect(lab, host)
            ready = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
            place = Paths(lab.name).run / f"ready-{host.name}"
            place.unlink(missing_ok=True)
            ready.bind(str(place))
            stack.callback(place.unlink)
            process = _start(lab, host, place)
            selector.register(ready, selectors.EVENT_READ, host)
            watch = stack.enter_context(os.fdopen(os.pidfd_open(process.pid)))
            selector.register(watch, selectors.EVENT_READ, host)
        _await_ready(lab, selector)


def kill(lab: str, host: str) -> None:
    """Power loss: every process of the host dies at once and the others hear nothing of it."""
    if host in network.links(lab):
        network.set_link(lab, host, up=False)
    cgroups.end(cgroups.host_cgroup(lab, host))
    network.disconnect(lab, host)


def enter(lab: str, host: str, command: list[str]) -> list[str]:
    """The command line that runs `command` as root inside the host."""
    leader = cgroups.first_process(cgroups.host_cgroup(lab, host))
    return ["nsenter", "-t", str(leader), "-m", "-u", "-i", "-n", "-p", "-C", "-r", "-w", "--", *command]


def _start(lab: LabSpec, host: HostSpec, ready: Path) -> subprocess.Popen[bytes]:
    paths = Paths(lab.name)
    disk = paths.host(host.name)
    cgroup = cgroups.host_cgroup(lab.name, host.name)
    cgroup.mkdir(parents=True)
    namespace = network.host_namespace(lab.name, host.name)
    options = [
        f"--directory={disk / 'root'}",
        "--boot",
        f"--machine={lab.name}-{host.name}",
        "--register=no",
        "--keep-unit",
        f"--network-namespace-path=/run/netns/{namespace}",
        "--capability=all",
        "--system-call-filter=@keyring bpf add_key keyctl pidfd_getfd",
        "--notify-ready=yes",
        "--console=passive",
        "--resolv-conf=off",
        "--timezone=off",
        "--link-journal=no",
        f"--hostname={host.name}",
        f"--bind={disk / 'containers'}:/var/lib/containers",
        *(f"--bind-ro={disk / 'images' / name}:{_STORES}/{name}" for name in host.images),
    ]
    if host.system == "coreos":
        options.append("--bind-ro=+/usr:/usr")
    if host.cpus:
        options.append(f"--cpu-affinity={host.cpus}")
    # The last one is for the host's own systemd. nspawn may stop reading the console, and who writes there waits then.
    options.append("systemd.show_status=no")
    environment = {
        **os.environ,
        "CGROUP": str(cgroup),
        "LOWER": str((disk / "lower").resolve()),
        "DISK": str(disk),
        "NOTIFY_SOCKET": str(ready),
        "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1",
        # /proc/sys/net belongs to the host's own network namespace: let it be set there, as on a real host.
        "SYSTEMD_NSPAWN_API_VFS_WRITABLE": "network",
    }
    with (disk / "console.log").open("ab") as console:
        return subprocess.Popen(
            ["unshare", "--mount", "--propagation=private", "sh", "-c", _BOOT, "boot", *options],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=console,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def _await_ready(lab: LabSpec, selector: selectors.BaseSelector) -> None:
    deadline = time.monotonic() + _BOOT_TIMEOUT
    waiting = {key.data.name for key in selector.get_map().values()}
    while waiting:
        events = selector.select(max(0.0, deadline - time.monotonic()))
        if not events:
            raise LabError(f"not ready after {_BOOT_TIMEOUT} s: {', '.join(sorted(waiting))}")
        for key, _ in events:
            host: str = key.data.name
            if not isinstance(key.fileobj, socket.socket):
                raise LabError(f"host {host} ended while it booted\n{_console_tail(lab, host)}")
            if b"READY=1" in key.fileobj.recv(4096).splitlines():
                waiting.discard(host)


def _console_tail(lab: LabSpec, host: str) -> str:
    text = (Paths(lab.name).host(host) / "console.log").read_text(errors="replace")
    return "\n".join(text.strip().splitlines()[-15:])


def _storage_conf(host: HostSpec) -> str:
    stores = ", ".join(f'"{_STORES}/{name}"' for name in host.images)
    return (
        '[storage]\ndriver = "overlay"\nrunroot = "/run/containers/storage"\n'
        'graphroot = "/var/lib/containers/storage"\n'
        f"[storage.options]\nadditionalimagestores = [{stores}]\n"
    )
