"""The lab's network: a bridge in the lab's own namespace, a namespace and one cable for every host.

Nothing of it is in the machine's own network namespace, and nothing leads out of it.
"""

from __future__ import annotations

import ipaddress
import json
import os
import signal
import subprocess
from collections.abc import Iterable
from pathlib import Path

from .command import run
from .spec import HostSpec, LabSpec

PREFIX = "pgfleet-"
_NETNS_CONFIG = Path("/etc/netns")


def lab_namespace(lab: str) -> str:
    """The controller's side: the bridge, and whatever the tests run against the hosts."""
    return f"{PREFIX}{lab}"


def host_namespace(lab: str, host: str) -> str:
    return f"{PREFIX}{lab}.{host}"  # no name has a dot, so no lab's namespace is another's host


def create(lab: LabSpec) -> None:
    """The lab's namespace with the bridge up and the controller's address; no host is connected yet."""
    namespace = lab_namespace(lab.name)
    length = ipaddress.ip_network(lab.subnet).prefixlen
    hosts = _NETNS_CONFIG / namespace / "hosts"
    hosts.parent.mkdir(parents=True, exist_ok=True)
    hosts.write_text(hosts_file(lab))
    (hosts.parent / "resolv.conf").write_text("")  # no name is asked of anybody outside
    run(["ip", "netns", "add", namespace])
    _batch(
        namespace,
        "link set lo up",
        "link add bridge type bridge",
        f"address add {lab.controller}/{length} dev bridge",
        "link set bridge up",
    )


def connect(lab: LabSpec, host: HostSpec) -> None:
    """A namespace for the host, with eth0 in the lab's bridge."""
    namespace = host_namespace(lab.name, host.name)
    length = ipaddress.ip_network(lab.subnet).prefixlen
    _batch(
        None,
        f"netns add {namespace}",
        f"link add name {host.name} netns {lab_namespace(lab.name)} type veth peer name eth0 netns {namespace}",
    )
    _batch(lab_namespace(lab.name), f"link set dev {host.name} master bridge up")
    _batch(namespace, "link set lo up", f"address add {host.address}/{length} dev eth0", "link set eth0 up")


def disconnect(lab: str, host: str) -> None:
    """Take the host's namespace away: peers hear nothing more of it."""
    if host in links(lab):
        run(["ip", "-n", lab_namespace(lab), "link", "delete", "dev", host])
    if host_namespace(lab, host) in namespaces():
        run(["ip", "netns", "delete", host_namespace(lab, host)])


def set_link(lab: str, host: str, *, up: bool) -> None:
    """Plug the host's cable in or out, on the bridge's side: silence, no reset."""
    run(["ip", "-n", lab_namespace(lab), "link", "set", "dev", host, "up" if up else "down"])


def links(lab: str) -> dict[str, bool]:
    """The hosts' cables: name to whether it is plugged in."""
    shown = json.loads(run(["ip", "-json", "-n", lab_namespace(lab), "link", "show", "type", "veth"]).stdout or "[]")
    return {link["ifname"]: "UP" in link["flags"] for link in shown if "ifname" in link}


def namespaces() -> set[str]:
    """Every namespace of every lab."""
    return {path.name for path in Path("/run/netns").glob(f"{PREFIX}*")}


def destroy(lab: str) -> None:
    """End what still runs in the lab's namespaces, save ourselves, and remove them."""
    own = lab_namespace(lab)
    mine = {name for name in namespaces() if name == own or name.startswith(f"{own}.")}
    ancestors = set(_ancestors())
    for name in mine:
        inside = subprocess.run(["ip", "netns", "pids", name], capture_output=True, text=True, check=False)
        for pid in map(int, inside.stdout.split()):
            if pid not in ancestors:
                _kill(pid)
    for name in mine:
        run(["ip", "netns", "delete", name])
    config = _NETNS_CONFIG / own
    for file in config.glob("*"):
        file.unlink()
    if config.is_dir():
        config.rmdir()


def configured() -> set[str]:
    """Labs that left a controller's hosts file."""
    return {path.name.removeprefix(PREFIX) for path in _NETNS_CONFIG.glob(f"{PREFIX}*")}


def hosts_file(lab: LabSpec) -> str:
    """/etc/hosts of every host and of the controller's side."""
    lines = ["127.0.0.1 localhost", "::1 localhost ip6-localhost ip6-loopback", f"{lab.controller} controller"]
    return "".join(f"{line}\n" for line in [*lines, *(f"{host.address} {host.name}" for host in lab.hosts)])


def _batch(namespace: str | None, *lines: str) -> None:
    inside = ["-n", namespace] if namespace else []
    run(["ip", *inside, "-batch", "-"], input_text="\n".join(lines) + "\n")


def _ancestors() -> Iterable[int]:
    pid = os.getpid()
    while pid > 0:
        yield pid
        status = Path(f"/proc/{pid}/stat").read_text()
        pid = int(status.rsplit(")", 1)[1].split()[1])


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return
