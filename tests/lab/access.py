"""The way in: a key of the lab, host keys known beforehand, ssh's configuration and Ansible's inventory."""

from __future__ import annotations

import subprocess
from typing import Any

import yaml

from .command import run
from .network import lab_namespace
from .spec import LabSpec
from .state import Paths

USER = "core"


def new_key(place: str, comment: str) -> None:
    run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", place])


def write(lab: LabSpec, host_keys: dict[str, str]) -> None:
    """known_hosts, ssh_config and inventory.yml. `host_keys`: host to its public key line."""
    paths = Paths(lab.name)
    paths.known_hosts.write_text(
        "".join(f"{host.address},{host.name} {' '.join(host_keys[host.name].split()[:2])}\n" for host in lab.hosts)
    )
    paths.ssh_config.write_text(_ssh_config(lab))
    paths.inventory.write_text(yaml.safe_dump(_inventory(lab), sort_keys=False))


def close(lab: str) -> None:
    """End the connections that ssh keeps for the lab's hosts."""
    for socket in Paths(lab).run.glob("ssh-*"):
        subprocess.run(["ssh", "-o", f"ControlPath={socket}", "-O", "exit", "lab"], capture_output=True, check=False)


def _ssh_config(lab: LabSpec) -> str:
    paths = Paths(lab.name)
    # nc hands the connected socket over (-F): no process stands between ssh and the host.
    lines = [
        "Host *",
        f"  User {USER}",
        f'  IdentityFile "{paths.key}"',
        "  IdentitiesOnly yes",
        f'  UserKnownHostsFile "{paths.known_hosts}"',
        "  StrictHostKeyChecking yes",
        f"  ProxyCommand ip netns exec {lab_namespace(lab.name)} nc -F %h %p",
        "  ProxyUseFdpass yes",
        "  ControlMaster auto",
        "  ControlPersist 60",
        f"  ControlPath {paths.run}/ssh-%r@%h",
        "  ConnectTimeout 10",
        "  ServerAliveInterval 5",
        "  ServerAliveCountMax 3",
        "  LogLevel ERROR",
    ]
    return "\n".join(lines) + "\n"


def _inventory(lab: LabSpec) -> dict[str, Any]:
    groups: dict[str, Any] = {}
    for host in lab.hosts:
        for group in host.groups:
            groups.setdefault(group, {"hosts": {}})["hosts"][host.name] = {}
    return {
        "all": {
            "vars": {
                "ansible_user": USER,
                "ansible_become": True,
                "ansible_pipelining": True,
                "ansible_ssh_args": f"-F '{Paths(lab.name).ssh_config}'",
            },
            "hosts": {host.name: {"ansible_host": host.address} for host in lab.hosts},
            "children": groups,
        }
    }
