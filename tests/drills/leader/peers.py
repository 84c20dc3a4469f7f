"""The designs beside which ours is measured, in the controller's side of the lab's network, in the same events.

`haproxy`: PgBouncer -> HAProxy -> PostgreSQL, with the health checks that Patroni's documentation shows.
`poller`: PgBouncer -> PostgreSQL; a script asks Patroni each second, rewrites the host and reloads.
Both are PgBouncer 1.24.1 as Debian builds it, with its default timeouts.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.drills.priority import stand_back
from tests.lab import debian, network

HAPROXY, POLLER = "haproxy", "poller"
PORTS = {HAPROXY: 6501, POLLER: 6502}
_TREE = debian.Recipe(packages=("pgbouncer", "haproxy"))
_UID = 6432

# The files of one peer become /mnt of a tree that is otherwise only read.
_ENTER = """
mount --bind "$1" "$2/mnt"
root=$2 user=$3
shift 3
exec chroot --userspec="$user" "$root" "$@"
"""


@dataclass(frozen=True)
class Given:
    """`servers`: database host to address. `directory` is for the peers' files; the three PEM texts are a server's."""

    lab: str
    servers: Mapping[str, str]
    user: str
    password: str = field(repr=False)
    directory: Path
    ca: str
    certificate: str
    key: str = field(repr=False)


@contextlib.contextmanager
def running(given: Given) -> Iterator[None]:
    """Both peers, at PORTS of the controller's address."""
    tree = debian.tree("peers", _TREE)
    with contextlib.ExitStack() as stack:
        _files(given, HAPROXY, host="127.0.0.1", port=5000, reading=5001)
        (given.directory / HAPROXY / "haproxy.cfg").write_text(_haproxy(given.servers))
        _start(stack, given, tree, HAPROXY, "haproxy", "-db", "-f", "/mnt/haproxy.cfg")
        _start(stack, given, tree, HAPROXY, "pgbouncer", "/mnt/pgbouncer.ini")
        first = next(iter(given.servers.values()))
        _files(given, POLLER, host=first, port=5432, reading=5432)
        engine = _start(stack, given, tree, POLLER, "pgbouncer", "/mnt/pgbouncer.ini")
        _poll(stack, given, engine.pid)
        yield


def hosts_file(database: str, host: str, port: int, replica: str, reading: int) -> str:
    """The section of databases: one for writes, one named `<database>_ro` for reads."""
    return (
        f"{database} = host={host} port={port} dbname={database}\n"
        f"{database}_ro = host={replica} port={reading} dbname={database}\n"
    )


def _files(given: Given, name: str, host: str, port: int, reading: int) -> None:
    place = given.directory / name
    place.mkdir(parents=True, exist_ok=True)
    files = {
        "pgbouncer.ini": _INI.format(port=PORTS[name]),
        "databases.ini": hosts_file(name, host, port, host, reading),
        "userlist.txt": f'"{given.user}" "{given.password}"\n',
        "ca.crt": given.ca,
        "tls.crt": given.certificate,
        "tls.key": given.key,
    }
    for file, text in files.items():
        (place / file).touch(mode=0o644)
        (place / file).write_text(text)


# No time limit is set: the engine's own defaults are what these designs run with.
_INI = """\
[pgbouncer]
listen_addr = *
listen_port = {port}
unix_socket_dir =
auth_type = scram-sha-256
auth_file = /mnt/userlist.txt
pool_mode = transaction
max_client_conn = 200
default_pool_size = 4
client_tls_sslmode = require
client_tls_ca_file = /mnt/ca.crt
client_tls_cert_file = /mnt/tls.crt
client_tls_key_file = /mnt/tls.key
server_tls_sslmode = require
log_connections = 0
log_disconnections = 0

[databases]
%include /mnt/databases.ini
"""


def _haproxy(servers: Mapping[str, str]) -> str:
    """As Patroni's documentation shows it: a port for each role, asked each 3 s, down after 3 failures."""
    text = (
        "global\n  maxconn 400\n"
        "defaults\n  mode tcp\n  retries 2\n  timeout client 30m\n  timeout connect 4s\n"
        "  timeout server 30m\n  timeout check 5s\n"
    )
    for port, role in ((5000, "primary"), (5001, "replica")):
        text += (
            f"listen {role}\n  bind *:{port}\n  option httpchk OPTIONS /{role}\n  http-check expect status 200\n"
            "  default-server inter 3s fall 3 rise 2 on-marked-down shutdown-sessions\n"
        )
        for name, address in servers.items():
            text += f"  server {name} {address}:5432 maxconn 100 check port 8008 check-ssl verify none\n"
    return text


def _start(stack: contextlib.ExitStack, given: Given, tree: Path, name: str, *command: str) -> subprocess.Popen[bytes]:
    place = given.directory / name
    log = stack.enter_context((place / f"{command[0]}.log").open("ab"))
    inside = ["ip", "netns", "exec", network.lab_namespace(given.lab), "unshare", "--mount", "--propagation=private"]
    inside += ["sh", "-euc", _ENTER, "sh", str(place), str(tree), f"{_UID}:{_UID}"]
    process = subprocess.Popen(
        [*inside, *command],
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        preexec_fn=stand_back,
    )
    stack.callback(process.wait)
    stack.callback(process.kill)
    return process


def _poll(stack: contextlib.ExitStack, given: Given, engine: int) -> None:
    command = [sys.executable, "-m", "tests.lab", "netns", given.lab, "--"]
    command += [sys.executable, "-m", "tests.drills.leader.poller"]
    process = stack.enter_context(subprocess.Popen(command, stdin=subprocess.PIPE, text=True))
    assert process.stdin
    told = {"servers": dict(given.servers), "file": str(given.directory / POLLER / "databases.ini"), "engine": engine}
    process.stdin.write(json.dumps(told) + "\n")
    process.stdin.flush()
    stack.callback(process.stdin.close)
