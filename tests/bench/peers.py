"""Other poolers in front of the same PostgreSQL, as processes in the network of one pooler host.

`bare`: the engine with the very files of that host's instance, and nothing around it. `guide`: PgBouncer as the usual
guide for EC2 sets it up in a container: one instance, a password in the userlist, an RSA key of 4096 bits, everything
else by default. pgagroal and Pgpool-II are Debian's.
"""

from __future__ import annotations

import contextlib
import datetime
import shutil
import socket
import subprocess
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

from tests.drills.fleet import Fleet
from tests.engine import trial
from tests.lab import debian, images, network

from . import usage
from .ways import Way

BARE, GUIDE, PGAGROAL, PGPOOL = "bare engine", "guide", "pgagroal", "Pgpool-II"

_TREE = debian.Recipe(packages=("pgbouncer", "pgagroal", "pgpool2"))
_UID = 6432
_PATIENCE = 20

# A cgroup of its own, the network of the host, a tree in which /mnt and /etc/pgbouncer are the peer's.
_ENTER = """
ulimit -n "$(ulimit -Hn)"
echo $$ > "$1/cgroup.procs"
exec ip netns exec "$2" unshare --mount --propagation=private sh -euc '
  mount --bind "$1" "$2/mnt"
  [ ! -f "$1/passwd" ] || mount --bind "$1/passwd" "$2/etc/passwd"
  [ ! -d "$1/pgbouncer" ] || mount --bind "$1/pgbouncer" "$2/etc/pgbouncer"
  root=$2 user=$3
  shift 3
  exec chroot --userspec="$user" "$root" env HOME=/mnt "$@"
' sh "$3" "$4" "$5" sh -euc "$6"
"""


@dataclass(frozen=True)
class Given:
    """`server` is PostgreSQL's address, `host` the pooler host at `address` in whose network the peers are."""

    fleet: Fleet
    server: str
    host: str
    address: str
    password: str = field(repr=False)


@dataclass(frozen=True)
class Peer:
    """Files below /mnt, and the script that starts it. `copied`: its /etc/pgbouncer is a copy of the host's."""

    name: str
    port: int
    files: Mapping[str, str] = field(repr=False)
    start: str = field(repr=False)
    copied: bool = False


@contextlib.contextmanager
def running(given: Given, peers: Iterable[Peer]) -> Iterator[Mapping[str, Way]]:
    """Those that come up; why another does not is printed."""
    tree = debian.tree("bench", _TREE)
    with contextlib.ExitStack() as stack:
        up = {}
        for peer in peers:
            place = given.fleet.paths.directory / "peers" / peer.name
            stack.callback(shutil.rmtree, place)
            _put(given, peer, place)
            group = usage.new(given.fleet.paths.lab, f"peer-{peer.port}")
            process = _start(stack, given, tree, place, group, peer.start)
            if _listens(process, peer.port):
                up[peer.name] = Way(given.address, peer.port, (group,))
            else:
                print(f"{peer.name} does not come up: {(place / 'log').read_text()[-1000:]}", flush=True)
        yield up


def engine(given: Given, name: str, port: int, changes: Mapping[str, str], before: str = "") -> Peer:
    """The host's engine by itself, with other settings, and with OpenSSL's from the image. `before` is sh."""
    ini = given.fleet.sh(given.host, "cat /etc/pgbouncer/current/50001.ini")
    files = {
        "pgbouncer.ini": with_settings(ini, {"listen_port": str(port), "unix_socket_dir": "/mnt", **changes}),
        "openssl.cnf": (images.image("pooler").root / "etc/ssl/openssl.cnf").read_text(),
    }
    start = f"export OPENSSL_CONF=/mnt/openssl.cnf\n{before}\nexec pgbouncer /mnt/pgbouncer.ini"
    return Peer(name, port, files, start, copied=True)


def with_settings(ini: str, settings: Mapping[str, str]) -> str:
    """The file with other settings in its first section."""
    kept = [line for line in ini.splitlines() if line.partition(" = ")[0] not in settings]
    at = kept.index("[pgbouncer]") + 1
    return "\n".join([*kept[:at], *(f"{key} = {value}" for key, value in settings.items()), *kept[at:], ""])


def others(given: Given) -> list[Peer]:
    leaf = {
        name: given.fleet.sh(given.host, f"cat /etc/pgbouncer/tls/server/current/{name}")
        for name in ("tls.crt", "tls.key", "ca.crt")
    }
    word = given.password
    return [
        engine(given, BARE, 6501, {}),
        Peer(
            GUIDE,
            6502,
            {"pgbouncer.ini": _GUIDE.format(given=given), "userlist.txt": f'"app" "{word}"\n', **_rsa()},
            "exec pgbouncer /mnt/pgbouncer.ini",
        ),
        Peer(
            PGAGROAL,
            6503,
            {
                "pgagroal.conf": _PGAGROAL.format(given=given),
                "hba.conf": "hostssl all all all scram-sha-256\n",
                "passwd": f"pooler:x:{_UID}:{_UID}::/mnt:/bin/sh\n",
                **leaf,
            },
            # The password goes through an argument: it is random, and gone with the lab.
            "mkdir -p -m 700 /mnt/.pgagroal; pgagroal-admin master-key -P " + word + "\n"
            "pgagroal-admin -f /mnt/users.conf -U app -P " + word + " user add\n"
            "exec pgagroal -c /mnt/pgagroal.conf -a /mnt/hba.conf -u /mnt/users.conf",
        ),
        Peer(
            PGPOOL,
            6504,
            {
                "pgpool.conf": _PGPOOL.format(given=given),
                "pool_hba.conf": "hostssl all all all scram-sha-256\n",
                "pool_passwd": f"app:TEXT{word}\n",
                "pcp.conf": "",
                **leaf,
            },
            "exec pgpool -n -f /mnt/pgpool.conf -a /mnt/pool_hba.conf -F /mnt/pcp.conf",
        ),
    ]


def _put(given: Given, peer: Peer, place: Path) -> None:
    place.mkdir(parents=True)
    if peer.copied:
        archive = place / "etc.tar"
        given.fleet.sh(given.host, "tar -C /etc -cf /run/etc.tar pgbouncer")
        given.fleet.fetch(given.host, "/run/etc.tar", archive)
        subprocess.run(["tar", "-xf", str(archive), "-C", str(place)], check=True)
    for file, text in peer.files.items():
        (place / file).write_text(text)
        (place / file).chmod(0o600)
    for path in (place, *place.rglob("*")):
        shutil.chown(path, _UID, _UID)


def _start(
    stack: contextlib.ExitStack, given: Given, tree: Path, place: Path, group: Path, script: str
) -> subprocess.Popen[bytes]:
    log = stack.enter_context((place / "log").open("ab"))
    namespace = network.host_namespace(given.fleet.paths.lab, given.host)
    arguments = [str(group), namespace, str(place), str(tree), f"{_UID}:{_UID}", script]
    process = subprocess.Popen(
        ["sh", "-euc", _ENTER, "sh", *arguments], stdin=subprocess.DEVNULL, stdout=log, stderr=log
    )
    stack.callback(process.wait)
    # Their children too: pgagroal and Pgpool-II have a process for each client.
    stack.callback((group / "cgroup.kill").write_text, "1")
    return process


def _listens(process: subprocess.Popen[bytes], port: int) -> bool:
    deadline = time.monotonic() + _PATIENCE
    while process.poll() is None and time.monotonic() < deadline:
        with trial.network_of(process.pid), contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", port), 1).close()
            return True
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(0.2)
    return False


def _rsa() -> dict[str, str]:
    """A certificate of the kind that the guide makes, signed by itself."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=4096)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "guide")])
    now = datetime.datetime.now(datetime.UTC)
    made = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    made = made.serial_number(x509.random_serial_number())
    made = made.not_valid_before(now).not_valid_after(now + datetime.timedelta(days=1))
    signed = made.sign(key, hashes.SHA256())
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return {"tls.crt": signed.public_bytes(serialization.Encoding.PEM).decode(), "tls.key": private.decode()}


_GUIDE = """\
[databases]
app = host={given.server} port=5432 dbname=app
[pgbouncer]
listen_addr = *
listen_port = 6502
unix_socket_dir =
auth_type = scram-sha-256
auth_file = /mnt/userlist.txt
ignore_startup_parameters = extra_float_digits
client_tls_sslmode = require
client_tls_key_file = /mnt/tls.key
client_tls_cert_file = /mnt/tls.crt
client_tls_ca_file = /mnt/tls.crt
"""
_PGAGROAL = """\
[pgagroal]
host = *
port = 6503
log_type = console
log_level = warn
max_connections = 100
unix_socket_dir = /mnt
pipeline = session
tls = on
tls_cert_file = /mnt/tls.crt
tls_key_file = /mnt/tls.key
[primary]
host = {given.server}
port = 5432
tls = on
"""
_PGPOOL = """\
listen_addresses = '*'
port = 6504
unix_socket_directories = '/mnt'
pcp_socket_dir = '/mnt'
pid_file_name = '/mnt/pgpool.pid'
logdir = '/mnt'
work_dir = '/mnt'
backend_clustering_mode = 'raw'
backend_hostname0 = '{given.server}'
backend_port0 = 5432
num_init_children = 40
max_pool = 1
load_balance_mode = off
enable_pool_hba = on
pool_passwd = 'pool_passwd'
ssl = on
ssl_cert = '/mnt/tls.crt'
ssl_key = '/mnt/tls.key'
ssl_ca_cert = '/mnt/ca.crt'
"""
