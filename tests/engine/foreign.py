"""Any installation of PgBouncer, started for a moment: its files where it says they are, and what SHOW shows then."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import psycopg

from pooler import certificates, ini
from tests.engine import trial
from tests.lab import debian

UID = 6432
Rows = list[dict[str, str | None]]

# $1 is what the engine sees as /etc/pgbouncer, $2 its unix socket's directory and $3 where it sees that, $4 the root.
_ENTER = """
ip link set lo up
mount --bind "$1" "$4/etc/pgbouncer"
for each in run tmp var/log; do mount -t tmpfs -o mode=1777 tmpfs "$4/$each"; done
mkdir -p -m 1777 "$4/run/postgresql" "$4/run/pgbouncer" "$4/var/log/postgresql" "$4/var/log/pgbouncer" "$4$3"
mount --bind "$2" "$4$3"
[ -z "$5" ] || mount --bind "$5" "$4/usr/sbin/pgbouncer"
exec chroot --userspec="$6" "$4" pgbouncer "$7"
"""
_TLS = [f"{side}_tls_{what}_file" for side in ("client", "server") for what in ("ca", "cert", "key")]


def leaf() -> Mapping[str, bytes]:
    """One certificate for everything: by the end of a setting's name."""
    now = datetime.now(UTC)
    authority = certificates.new_authority("fleet", now=now)
    made = certificates.issue(authority, certificates.LeafRequest("pgbouncer", dns_names=("pooler.example",)), now)
    return {
        "ca_file": made.authority_pem.encode(),
        "cert_file": made.certificate_pem.encode(),
        "key_file": made.key_pem,
    }


def shown(files: Mapping[str, str], config: str, tls: Mapping[str, bytes]) -> dict[str, Rows]:
    """SHOW CONFIG, DATABASES and USERS of an engine with these files, by their paths below /etc/pgbouncer.

    Certificates that `config` names are put where it says. Raises AssertionError with the engine's words.
    """
    said = ini.parse(files[config], version=trial.version()).pgbouncer
    with tempfile.TemporaryDirectory(prefix="pgfleet-") as name:
        root = Path(name)
        etc, socket = root / "etc", root / "socket"
        for path in (root, etc, socket):
            path.mkdir(exist_ok=True)
            path.chmod(0o755)
        tree = debian.tree("engine", debian.Recipe(packages=("pgbouncer",)))
        # With a user named in the file the engine wants to be root first.
        uid, first = (_uid(tree, said["user"]), "0:0") if said.get("user") else (UID, f"{UID}:{UID}")
        shutil.chown(socket, uid, uid)
        pems = {said[key]: tls[key.partition("_tls_")[2]] for key in _TLS if said.get(key)}
        contents = {place: text.encode() for place, text in files.items()} | pems
        for place, content in contents.items():
            file = etc / place.removeprefix("/etc/pgbouncer/")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
            os.chown(file, uid, uid)
            file.chmod(0o600)
        # A link of the tree would lead out of it.
        seen = said.get("unix_socket_dir", "/tmp").replace("/var/run", "/run")
        places = [str(etc), str(socket), seen, str(tree), trial.OTHER_ENGINE, first, f"/etc/pgbouncer/{config}"]
        command = ["unshare", "--net", "--mount", "--propagation=private", "sh", "-euc", _ENTER, "sh", *places]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
            try:
                _until_up(process)
                return _asked(socket, said.get("listen_port", "6432"), uid)
            finally:
                process.send_signal(signal.SIGQUIT)


def _until_up(process: subprocess.Popen[bytes]) -> None:
    assert process.stderr is not None
    said = []
    while line := process.stderr.readline():
        said.append(line.decode("utf-8", "replace"))
        if b"process up" in line:
            return
    raise AssertionError("".join(said))


def _uid(tree: Path, user: str) -> int:
    lines = (line.split(":") for line in (tree / "etc/passwd").read_text().splitlines())
    return next(int(fields[2]) for fields in lines if fields[0] == user)


def _asked(socket: Path, port: str, uid: int) -> dict[str, Rows]:
    """As the engine's own user, who needs no password."""
    os.seteuid(uid)
    try:
        console = psycopg.connect(
            host=str(socket),
            port=port,
            user="pgbouncer",
            dbname="pgbouncer",
            autocommit=True,
            prepare_threshold=None,
            connect_timeout=30,
        )
    finally:
        os.seteuid(0)
    with console:
        return {what: _rows(console, what) for what in ("CONFIG", "DATABASES", "USERS")}


def _rows(console: psycopg.Connection[tuple[object, ...]], what: str) -> Rows:
    cursor = console.execute(f"SHOW {what}".encode())
    names = [column.name for column in cursor.description or ()]
    return [
        {name: None if value is None else str(value).strip() for name, value in zip(names, row, strict=True)}
        for row in cursor
    ]
