"""Leaves that nobody has renewed in time: who says so beforehand and after, and the run that mends it."""

from __future__ import annotations

import base64
import json
import re
import subprocess
import sys
import tempfile
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pooler import certificates
from tests.drills.figures import Figure

from . import doctor
from .rotation import fingerprints, fleets_secrets, shown_ports
from .scene import CONSOLES, DATABASES, POOLER, Long, Scene, asked

DAYS = 30
AGE = timedelta(days=60)
"""Of the authorities: they could have issued leaves of that life which end today."""

SOON, OVER = timedelta(hours=12), timedelta(seconds=-1)

_DATABASE_LEAVES = {
    "/etc/pgfleet/tls/spilo": "",
    "/etc/pgfleet/tls/patroni": "",
    "/etc/pgfleet/tls/etcd": "etcd",
    "/etc/pgfleet/tls/etcd-client": "etcd",
}
_LEAVES = {
    POOLER: {"/etc/pgbouncer/tls/server": "", "/etc/pgbouncer/tls/client": ""},
    **dict.fromkeys(DATABASES, _DATABASE_LEAVES),
}
"""Directories of each host, and the authority of each."""

_READ = {
    POOLER: "".join(
        f"podman exec pgbouncer-{each} psql -Xq -h /run/pgbouncer/{each} -p 6432 -U pgbouncer -d pgbouncer -c RELOAD\n"
        for each in CONSOLES
    )
    + "systemctl restart pgbouncer-agent\n",
    # Patroni is the first process there, and reloads PostgreSQL too. etcd reads its leaf at each handshake.
    **dict.fromkeys(DATABASES, "podman kill --signal HUP spilo\n"),
}
"""Scripts by which everybody reads the files anew."""

_WHO_ENDS = """\
- name: Certificates that end soon
  hosts: database:pooler
  gather_facts: false
  tasks:
    - name: Look
      pgfleet.pooler.certificate_info:
        ports: "{{ drill_leaves[inventory_hostname] }}"
      become: true
      register: drill_found

    - name: Tell
      ansible.builtin.debug:
        msg: >-
          due and ending within a day:
          {{ drill_found.ports | selectattr('due') | selectattr('days', '<', 1) | list | length }}
"""
_METRIC = re.compile(
    r'^pgfleet_certificate_expiry_timestamp_seconds\{file="(.+?)/[0-9a-f]+/tls.crt",.*\} (\S+)$', re.MULTILINE
)


def aged_authorities(directory: Path, passphrase: str) -> None:
    """Authorities that could have issued leaves for some time."""
    for name in ("", "etcd"):
        place = directory / name
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        made = certificates.new_authority(f"drill {name}".strip(), now=datetime.now(UTC) - AGE)
        (place / "ca.crt").write_text(made.certificate_pem)
        key = place / "ca.key"
        key.touch(mode=0o600)
        key.write_bytes(certificates.lock(made.key_pem, passphrase))


def expired(scene: Scene) -> list[Figure]:
    """The clock jumps past the end of every leaf of the fleet. The next ordinary run mends that."""
    what = "leaves that have ended"
    _put_everywhere(scene, SOON)
    warned = doctor.expiries(scene, "warning", doctor.ENDING)
    told = [_told_by_module(scene, what), _told_by_metrics(scene, what)]
    with Long(scene.fleet.paths.lab, scene.settings()) as long:
        _put_everywhere(scene, OVER)
        before = fingerprints(scene)
        refused = not _logs_in(scene)
        failed = doctor.expiries(scene, "failed", doctor.ENDED)
        healing = scene.play("pgfleet.pooler.site")
        let_in = asked(lambda: _logs_in(scene), bool)
        kept = long.end()
    troubles = doctor.troubles(scene)
    again = scene.play("pgfleet.pooler.site")
    return [
        *told,
        Figure(f"{what}: warnings of doctor before", warned, f"of {doctor.ENDING}", least=doctor.ENDING),
        Figure(f"{what}: ends that doctor told afterwards", failed, f"of {doctor.ENDED}", least=doctor.ENDED),
        Figure(f"{what}: logins refused meanwhile", int(refused), "of 1", least=1),
        # Without a goal: the leader steps down when Patroni has to connect to etcd anew, which refuses it as well.
        Figure(f"{what}: backends of a transaction that lasted throughout", len(kept), ""),
        Figure(f"{what}: logins after the run that mends it", int(let_in), "of 1", least=1),
        Figure(f"{what}: seconds of that run", healing.seconds, "s"),
        Figure(f"{what}: things that doctor finds amiss after that run", troubles, "", 0),
        *shown_ports(scene, what, before),
        Figure(f"{what}: tasks that change something in the run after it", again.changed, "", 0),
        *scene.found(what, fleets_secrets(scene)),
        scene.went_wrong(what),
    ]


def _put_everywhere(scene: Scene, left: timedelta) -> None:
    """Leaves like those in force, but for their end, which is so far from now; everybody reads them."""
    end = datetime.now(UTC) + left
    for host, directories in _LEAVES.items():
        scene.fleet.sh(host, "".join(_put(scene, host, leaf, name, end) for leaf, name in directories.items()))
        scene.fleet.sh(host, _READ[host])


def _put(scene: Scene, host: str, directory: str, authority: str, end: datetime) -> str:
    """A script that overwrites a leaf, as if it had been issued long ago."""
    variables = scene.fleet.variables
    pki = Path(variables["certificates_authority_directory"], authority)
    key = certificates.unlock((pki / "ca.key").read_bytes(), str(variables["certificates_passphrase"]))
    signer = certificates.Authority((pki / "ca.crt").read_text(), key)
    state = certificates.inspect(scene.fleet.sh(host, f"cat {directory}/current/tls.crt"))
    request = certificates.LeafRequest(state.common_name, state.dns_names, state.addresses, state.usages, DAYS)
    leaf = certificates.issue(signer, request, end - timedelta(days=DAYS))
    contents = {"tls.crt": leaf.certificate_pem.encode(), "tls.key": leaf.key_pem}
    return "".join(
        f"base64 -d > {directory}/current/{name} <<'END'\n{base64.encodebytes(content).decode()}END\n"
        for name, content in contents.items()
    )


def _told_by_module(scene: Scene, what: str) -> Figure:
    """What people put into checks of their own."""
    output = scene.play(
        _WHO_ENDS, drill_leaves={host: [{"directory": leaf} for leaf in leaves] for host, leaves in _LEAVES.items()}
    ).output
    told = sum(map(int, re.findall(r"due and ending within a day: (\d+)", output)))
    count = sum(map(len, _LEAVES.values()))
    return Figure(f"{what}: certificates of which certificate_info told it before", told, f"of {count}", least=count)


def _told_by_metrics(scene: Scene, what: str) -> Figure:
    """What Prometheus sees of the pooler host."""
    with tempfile.TemporaryDirectory(prefix="pgfleet-drill-") as directory:
        for name in ("tls.crt", "tls.key"):
            scene.fleet.fetch(POOLER, f"/etc/pgbouncer/tls/client/current/{name}", Path(directory, name))
        ask = ["curl", "--silent", "--show-error", "--fail", "--retry", "20", "--retry-connrefused"]
        ask += [
            "--cacert",
            str(scene.fleet.authority),
            "--cert",
            f"{directory}/tls.crt",
            "--key",
            f"{directory}/tls.key",
        ]
        page = _in_lab(scene, [*ask, f"https://{POOLER}:9127/metrics"]).stdout
    soon = (datetime.now(UTC) + timedelta(days=1)).timestamp()
    told = sum(float(at) < soon for directory, at in _METRIC.findall(page) if directory in _LEAVES[POOLER])
    count = len(_LEAVES[POOLER])
    return Figure(f"{what}: certificates of which metrics told it before", told, f"of {count}", least=count)


def _logs_in(scene: Scene) -> bool:
    """One client, who verifies the name and the certificate."""
    command = [sys.executable, "-m", "tests.drills.secrets.long_transaction"]
    return _in_lab(scene, command, json.dumps(asdict(scene.settings())) + "\n").returncode == 0


def _in_lab(scene: Scene, command: list[str], words: str = "") -> subprocess.CompletedProcess[str]:
    """From the controller's side of the lab's network."""
    entered = [sys.executable, "-m", "tests.lab", "netns", scene.fleet.paths.lab, "--", *command]
    return subprocess.run(entered, input=words, capture_output=True, text=True, check=False)
