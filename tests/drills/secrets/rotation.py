"""Certificates change under load: the leaves of both sides, and the authority that signs them."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from pooler import certificates, served
from tests.drills.figures import Figure
from tests.drills.under_load import Mark
from tests.lab.network import host_namespace

from .scene import CONSOLES, DATABASES, POOLER, Scene, asked

_POOLER_PORTS = (*((port, "postgresql", "server") for port in (*CONSOLES, 6432)), (9127, "tls", "server"))
_DATABASE_PORTS = (
    (5432, "postgresql", "spilo"),
    (8008, "tls", "spilo"),
    (2379, "tls", "etcd"),
    (2380, "tls", "etcd"),
)
_PORTS = {
    POOLER: ("/etc/pgbouncer/tls", _POOLER_PORTS),
    **dict.fromkeys(DATABASES, ("/etc/pgfleet/tls", _DATABASE_PORTS)),
}
_CLIENT, _ETCD_CLIENT = "/etc/pgbouncer/tls/client", "/etc/pgfleet/tls/etcd-client"
_CLIENT_PORTS = (
    (9127, "tls", POOLER, POOLER, _CLIENT),
    *((5432, "postgresql", host, POOLER, _CLIENT) for host in DATABASES),
    *((8008, "tls", host, POOLER, _CLIENT) for host in DATABASES),
    *((2379, "tls", host, host, _ETCD_CLIENT) for host in DATABASES),
)
"""Port, its protocol and host; a leaf that opens it, and on which host."""
_HANDSHAKES = 16
"""On each port: of two instances that share one, either is met but for one time in 2 ** 15."""


def leaves(scene: Scene) -> list[Figure]:
    """Every leaf of the fleet anew, due or not."""
    return _rotated(scene, "leaves")


def authority(scene: Scene) -> list[Figure]:
    """Another authority for the whole fleet; afterwards nobody takes a leaf of the old one any more."""
    what = "authority"
    with tempfile.TemporaryDirectory(prefix="pgfleet-drill-") as directory:
        doors = copied_leaves(scene, Path(directory))
        before = refusals(scene, doors)
        figures = _rotated(scene, what)
        after = refusals(scene, doors)
    print(*(f"  {door['host']}:{door['port']}: {why}" for door, why in zip(doors, after, strict=True)), sep="\n")
    every = f"of {len(doors)}"
    return [
        *figures[:-1],
        Figure(f"{what}: doors that refuse the old leaf beforehand", sum(map(bool, before)), every, 0),
        Figure(f"{what}: doors that refuse the old leaf afterwards", sum(map(bool, after)), every, least=len(doors)),
        figures[-1],
    ]


def _rotated(scene: Scene, what: str) -> list[Figure]:
    before, secret = fingerprints(scene), fleets_secrets(scene)

    def event(mark: Mark) -> None:
        play = scene.play("pgfleet.pooler.rotate_certificates", rotate_certificates=what)
        mark(f"{what}: {play.seconds:.0f} s")

    figures = scene.felt(what, event)
    figures += [*shown_ports(scene, what, before), _recycled(scene, what)]
    return [*figures, *scene.found(what, secret | fleets_secrets(scene)), scene.went_wrong(what)]


def fingerprints(scene: Scene) -> dict[tuple[str, int], frozenset[str]]:
    """What each port shows to handshakes on the host itself, as SHA-256 in hex."""
    found: dict[tuple[str, int], frozenset[str]] = {}
    for host, (_directory, ports) in _PORTS.items():
        wanted = [{"host": "127.0.0.1", "port": p, "protocol": kind, "times": _HANDSHAKES} for p, kind, _leaf in ports]
        command = ["ip", "netns", "exec", host_namespace(scene.fleet.paths.lab, host)]
        command += [sys.executable, str(Path(served.__file__)), json.dumps(wanted)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        for (port, _kind, _leaf), answer in zip(ports, json.loads(done.stdout), strict=True):
            if answer["error"]:
                scene.wrong.append(f"{host}:{port}: {answer['error']}")
            shown = (hashlib.sha256(bytes.fromhex(each)).hexdigest() for each in answer["certificates"].split())
            found[host, port] = frozenset(shown)
    return found


def fleets_secrets(scene: Scene) -> set[str]:
    """A password, the passphrase, and the lines of the authorities' keys, opened: what is to be on no host."""
    passphrase = str(scene.fleet.variables["certificates_passphrase"])
    directory = Path(scene.fleet.variables["certificates_authority_directory"])
    keys = [
        certificates.unlock(path.read_bytes(), passphrase)
        for path in (directory / "ca.key", directory / "etcd" / "ca.key")
    ]
    return {scene.fleet.password, passphrase}.union(*map(key_lines, keys))


def key_lines(pem: bytes) -> set[str]:
    """Lines of a key that no other has: the first ones of all keys of a kind begin alike."""
    return {line for line in pem.decode().splitlines()[2:-1] if len(line) >= 20}


def copied_leaves(scene: Scene, directory: Path) -> list[dict[str, object]]:
    """Where certificates of clients are asked for, each with a copy of the leaf that opens it now."""
    doors: list[dict[str, object]] = []
    for port, protocol, host, owner, leaf in _CLIENT_PORTS:
        copy = directory / owner
        copy.mkdir(exist_ok=True)
        for name in ("tls.crt", "tls.key"):
            scene.fleet.fetch(owner, f"{leaf}/current/{name}", copy / name)
        doors.append({"host": host, "port": port, "protocol": protocol, "leaf": str(copy)})
    return doors


def refusals(scene: Scene, doors: Sequence[Mapping[str, object]]) -> list[str]:
    command = [sys.executable, "-m", "tests.lab", "netns", scene.fleet.paths.lab, "--"]
    command += [sys.executable, "-m", "tests.drills.secrets.doors", json.dumps(doors)]
    return list(json.loads(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout))


def shown_ports(scene: Scene, what: str, before: Mapping[tuple[str, int], frozenset[str]]) -> list[Figure]:
    """Every port shows what lies on its host, and none of what it showed before."""
    after, old, other = fingerprints(scene), 0, 0
    for host, (directory, ports) in _PORTS.items():
        for port, _kind, leaf in ports:
            pem = scene.fleet.sh(host, f"cat {directory}/{leaf}/current/tls.crt")
            wanted = served.fingerprint(pem)
            old += bool(after[host, port] & before.get((host, port), frozenset()))
            other += after[host, port] != {wanted}
    ports_of_all = f"of {len(after)}"
    return [
        Figure(f"{what}: ports that still show the old certificate", old, ports_of_all, 0),
        Figure(f"{what}: ports that show another than lies on their host", other, ports_of_all, 0),
    ]


def _recycled(scene: Scene, what: str) -> Figure:
    """PostgreSQL's word: which certificate each connection of the poolers was made with. Waits for the last one."""
    serial = scene.fleet.sh(POOLER, "readlink /etc/pgbouncer/tls/client/current").strip()
    query = (
        "SELECT count(*) FROM pg_catalog.pg_stat_ssl s JOIN pg_catalog.pg_stat_activity a USING (pid) "
        f"WHERE a.client_addr = '{_address(scene, POOLER)}' AND s.client_serial <> {int(serial, 16)}"
    )
    left = asked(lambda: sum(int(scene.psql(host, query)) for host in DATABASES), lambda count: not count)
    return Figure(f"{what}: server connections with the old certificate", left, "", 0)


def _address(scene: Scene, host: str) -> str:
    hosts = (Path("/etc/netns") / f"pgfleet-{scene.fleet.paths.lab}" / "hosts").read_text().splitlines()
    return next(line.split()[0] for line in hosts if line.split()[1:2] == [host])
