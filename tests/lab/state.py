"""Where a lab keeps its files, and what is written there."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from . import cache, network
from .errors import LabError
from .spec import HostSpec, LabSpec


@dataclass(frozen=True)
class Paths:
    """The files of one lab."""

    lab: str

    @property
    def directory(self) -> Path:
        return cache.root() / "labs" / self.lab

    @property
    def run(self) -> Path:
        """Sockets: their paths must stay short, wherever the cache is."""
        return Path(f"/run/{network.PREFIX}{self.lab}")

    @property
    def inventory(self) -> Path:
        return self.directory / "inventory.yml"

    @property
    def ssh_config(self) -> Path:
        return self.directory / "ssh_config"

    @property
    def known_hosts(self) -> Path:
        return self.directory / "known_hosts"

    @property
    def key(self) -> Path:
        return self.directory / "key"

    @property
    def spec(self) -> Path:
        """Written last: a lab that has it came up whole."""
        return self.directory / "lab.json"

    def host(self, name: str) -> Path:
        """The host's disks: upper, work, root, containers; and its console's log."""
        return self.directory / "hosts" / name


def write_spec(lab: LabSpec) -> None:
    Paths(lab.name).spec.write_text(json.dumps(asdict(lab), indent=2))


def read_spec(name: str) -> LabSpec:
    """The lab of that name. Raises LabError when there is none that came up whole."""
    try:
        data = json.loads(Paths(name).spec.read_text())
    except FileNotFoundError as error:
        raise LabError(f"there is no lab {name!r} (python -m tests.lab status lists them)") from error
    hosts = tuple(
        HostSpec(**{**host, "groups": tuple(host["groups"]), "images": tuple(host["images"])}) for host in data["hosts"]
    )
    return LabSpec(data["name"], data["subnet"], hosts)


def labs() -> set[str]:
    """Labs that have a directory or sockets."""
    kept = {path.name for path in (cache.root() / "labs").glob("*")}
    return kept | {path.name.removeprefix(network.PREFIX) for path in Path("/run").glob(f"{network.PREFIX}*")}
