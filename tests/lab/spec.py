"""The description of a lab, read from YAML.

    name: demo
    subnet: 10.77.0.0/24        # optional; labs may share one, their networks never meet
    hosts:
      db1: {groups: [database]}
      pool1: {groups: [pooler], address: 10.77.0.21, cpus: "0", images: [etcd]}
      pool2: {groups: [pooler], system: coreos}

Addresses are given in order from .11 on; .1 is the controller's. `cpus` is a list as taskset reads it. `images` are
the container images a host finds in its additional image store: all but `stock` and `monitoring` when not said. A host
whose `system` is coreos waits for its first boot (`first_boot.py`); it has no images and no keys.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from .errors import LabError

IMAGES = ("etcd", "spilo", "pooler")
ASKED_FOR = ("stock", "monitoring")
"""Images that a host has only when it says so."""
SYSTEMS = ("debian", "coreos")
_FIRST_ADDRESS = 11
# A host's name is also the name of its port in the lab's namespace: 15 characters, and not one of these.
_NAME = re.compile(r"[a-z][a-z0-9-]{0,14}")
_TAKEN = ("lo", "bridge", "controller", "localhost", "all", "ungrouped")


@dataclass(frozen=True)
class HostSpec:
    name: str
    address: str
    groups: tuple[str, ...] = ()
    cpus: str = ""
    images: tuple[str, ...] = IMAGES
    system: str = "debian"


@dataclass(frozen=True)
class LabSpec:
    name: str
    subnet: str
    hosts: tuple[HostSpec, ...]

    @property
    def controller(self) -> str:
        """The address of the controller's end of the bridge."""
        return str(ipaddress.ip_network(self.subnet)[1])

    def host(self, name: str) -> HostSpec:
        for host in self.hosts:
            if host.name == name:
                return host
        raise LabError(f"lab {self.name} has no host {name!r} (it has {', '.join(host.name for host in self.hosts)})")


def load(file: Path) -> LabSpec:
    """Read and check a lab's file. Raises LabError naming the place."""
    try:
        data = yaml.safe_load(file.read_text())
    except OSError as error:
        raise LabError(f"{file}: {error.strerror}") from error
    except yaml.YAMLError as error:
        raise LabError(f"{file}: not YAML: {' '.join(str(error).split())}") from error
    try:
        return parse(data)
    except LabError as error:
        raise LabError(f"{file}: {error}") from error


def parse(data: Any) -> LabSpec:
    """Check what `load` read; also the way for a program to describe a lab."""
    fields = _mapping("the lab", data, {"name", "subnet", "hosts"})
    name = _name("name", fields.get("name"))
    try:
        subnet = ipaddress.ip_network(fields.get("subnet", "10.77.0.0/24"))
    except ValueError as error:
        raise LabError(f"subnet: {error}") from error
    described = _mapping("hosts", fields.get("hosts"), None)
    if not described:
        raise LabError("hosts: name at least one host")
    hosts = [
        _host(host, {} if value is None else value, subnet, position)
        for position, (host, value) in enumerate(described.items())
    ]
    addresses = [host.address for host in hosts]
    for address in addresses:
        if addresses.count(address) > 1 or address == str(subnet[1]):
            raise LabError(f"hosts: address {address} is used twice ({subnet[1]} is the controller's)")
    return LabSpec(name, str(subnet), tuple(hosts))


def _host(name: str, value: Any, subnet: ipaddress.IPv4Network | ipaddress.IPv6Network, position: int) -> HostSpec:
    place = f"hosts.{name}"
    fields = _mapping(place, value, {"address", "groups", "cpus", "images", "system"})
    if _name(place, name) in _TAKEN:
        raise LabError(f"{place}: the name is taken, choose another")
    address = str(fields.get("address", subnet[_FIRST_ADDRESS + position]))
    try:
        inside = ipaddress.ip_address(address) in subnet
    except ValueError as error:
        raise LabError(f"{place}.address: {error}") from error
    if not inside:
        raise LabError(f"{place}.address: {address} is not in {subnet}")
    system = str(fields.get("system", "debian"))
    if system not in SYSTEMS:
        raise LabError(f"{place}.system: {system!r} is unknown (there are {', '.join(SYSTEMS)})")
    images = _names(f"{place}.images", fields.get("images", list(IMAGES) if system == "debian" else []))
    if unknown := set(images) - {*IMAGES, *ASKED_FOR}:
        there = ", ".join((*IMAGES, *ASKED_FOR))
        raise LabError(f"{place}.images: {', '.join(sorted(unknown))} is unknown (there are {there})")
    groups = _names(f"{place}.groups", fields.get("groups", []))
    return HostSpec(name, address, groups, str(fields.get("cpus", "")), images, system)


def _mapping(place: str, value: Any, known: set[str] | None) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise LabError(f"{place}: must be a mapping")
    if known is not None and (unknown := set(value) - known):
        raise LabError(f"{place}: unknown key {min(map(str, unknown))!r} (allowed: {', '.join(sorted(known))})")
    return value


def _name(place: str, value: Any) -> str:
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        raise LabError(f"{place}: {value!r} must be lower-case letters, digits and '-', at most 15 of them")
    return value


def _names(place: str, value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise LabError(f"{place}: must be a list of names")
    return tuple(value)
