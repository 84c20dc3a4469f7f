"""The life of a lab: up, down, what there is of it; also of one that crashed halfway."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from . import access, cache, cgroups, first_boot, hosts, images, network, requirements, roots, state
from .command import progress, say
from .errors import LabError
from .spec import IMAGES, LabSpec
from .state import Paths


def prepare() -> None:
    """Build, or find in the cache, what every lab is made of."""
    requirements.check()
    _materials(IMAGES)


def up(lab: LabSpec) -> None:
    """Boot the lab. One that is up already, from the same description, is left alone; a broken one is replaced.

    Raises LabError when a lab of this name, but described otherwise, is up.
    """
    requirements.check()
    root, stores = _materials(name for host in lab.hosts for name in host.images)
    with cache.locked(f"lab-{lab.name}"):
        if _is_up(lab.name):
            if state.read_spec(lab.name) != lab:
                raise LabError(f"lab {lab.name} is up, described otherwise (python -m tests.lab down {lab.name})")
            say(f"lab {lab.name} is up already")
            return
        if lab.name in known():
            say(f"cleaning what is left of an earlier lab {lab.name}")
            _destroy(lab.name)
        names = ", ".join(host.name for host in lab.hosts)
        with progress(f"booting {names}"):
            try:
                _create(lab, root, stores)
                hosts.boot(lab, [host for host in lab.hosts if host.system != "coreos"])
            except BaseException:
                _destroy(lab.name)
                raise
        state.write_spec(lab)


def down(name: str) -> None:
    """Remove every trace of the lab; there may be none."""
    requirements.check()
    with cache.locked(f"lab-{name}"):
        _destroy(name)


def known() -> set[str]:
    """Every lab of which anything is left: files, cgroups or namespaces."""
    spaces = {name.removeprefix(network.PREFIX).partition(".")[0] for name in network.namespaces()}
    return state.labs() | cgroups.labs() | spaces | network.configured()


def kill(name: str, host: str) -> None:
    """Power loss of one host."""
    state.read_spec(name).host(host)
    hosts.kill(name, host)


def boot(name: str, host: str) -> None:
    """Boot a host again after `kill`, with the disk it had."""
    lab = state.read_spec(name)
    if is_running(name, lab.host(host).name):
        raise LabError(f"host {host} is running")
    hosts.kill(name, host)  # what a host that halted by itself left
    hosts.boot(lab, [lab.host(host)])


def ignite(name: str, host: str, options: Sequence[str], environment: Mapping[str, str]) -> None:
    """First boot of a host whose system is coreos: Ignition writes its disk, then it boots."""
    lab = state.read_spec(name)
    if lab.host(host).system != "coreos" or is_running(name, host):
        raise LabError(f"host {host} is running, or its system is not coreos")
    first_boot.ignite(lab, lab.host(host), options, environment)
    hosts.boot(lab, [lab.host(host)])


def is_running(name: str, host: str) -> bool:
    return cgroups.populated(cgroups.host_cgroup(name, host))


def _materials(names: Iterable[str]) -> tuple[Path, dict[str, Path]]:
    """The host root, and image name to its store; what is missing is built, two at a time."""
    wanted = sorted(set(names), reverse=True)  # the one that takes longest first
    with ThreadPoolExecutor(max_workers=2) as pool:
        root = pool.submit(roots.host_root)
        stores = pool.map(lambda name: images.image(name).store, wanted)
        return root.result(), dict(zip(wanted, stores, strict=True))


def _is_up(name: str) -> bool:
    return Paths(name).spec.exists() and network.lab_namespace(name) in network.namespaces()


def _create(lab: LabSpec, root: Path, stores: Mapping[str, Path]) -> None:
    paths = Paths(lab.name)
    paths.directory.mkdir(parents=True)
    paths.directory.chmod(0o700)
    paths.run.mkdir(mode=0o700)
    access.new_key(str(paths.key), f"lab {lab.name}")
    authorized = paths.key.with_suffix(".pub").read_text()
    access.write(lab, {host.name: hosts.prepare(lab, host, authorized, root, stores) for host in lab.hosts})
    network.create(lab)


def _destroy(name: str) -> None:
    access.close(name)
    cgroups.end(cgroups.lab_cgroup(name))
    network.destroy(name)
    for place in (Paths(name).directory, Paths(name).run):
        cache.remove(place)
