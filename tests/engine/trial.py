"""A real PgBouncer or PostgreSQL in namespaces of its own, to be asked what it makes of a file or a password."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import functools
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import psycopg

from pooler import settings
from tests.lab import debian, images

ADMIN = "trial"
"""The user of the console; reached by the unix socket without a password."""

OTHER_ENGINE = os.environ.get("PGFLEET_ENGINE", "")
"""The path of a pgbouncer that runs instead of Debian's, with Debian's libraries; none when empty."""

_NEW_NETWORK = 0x40000000
# In a mount namespace of its own, `place` becomes /mnt of a tree that is otherwise only read.
_ENTER = """
mount --bind "$1" "$2/mnt"
[ -z "$4" ] || mount --bind "$4" "$2/usr/sbin/pgbouncer"
ip link set lo up
root=$2 user=$3
shift 4
exec chroot --userspec="$user" "$root" "$@"
"""
_LINE = re.compile(r"(?m)^\S+ \S+ \S+ \[\d+\] (?P<level>[A-Z]+) (?P<text>.*)$")
_LIBC = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True)
class Heard:
    """What the engine logged: level (NOISE, DEBUG, LOG, WARNING, ERROR, FATAL) and text of each message."""

    messages: tuple[tuple[str, str], ...]

    def texts(self, *levels: str) -> list[str]:
        return [text for level, text in self.messages if level in levels]

    @property
    def refused(self) -> bool:
        """Whether the configuration was not loaded, or not to its end."""
        return any(text in {"config file loading failed", "cannot load config file"} for _, text in self.messages)


class Engine:
    """One pgbouncer with the files of `place`, at `pgbouncer.ini`; its socket is there too."""

    def __init__(self, place: Path, process: subprocess.Popen[bytes], console: psycopg.Connection[tuple[object, ...]]):
        self.place = place
        self._process = process
        self._console = console

    def reload(self, **files: str) -> Heard:
        """Replace files (`pgbouncer_ini=…` is pgbouncer.ini), RELOAD, and hear what the engine said."""
        for name, text in files.items():
            put(self.place / name.replace("_", ".", 1), text)
        self.heard()
        # A newer engine says at the console that it has not loaded the file; all of them log why.
        with contextlib.suppress(psycopg.errors.ConfigFileError):
            self._console.execute("RELOAD")
        return self.heard()

    def heard(self) -> Heard:
        """What it has logged since it was last asked, without waiting."""
        assert self._process.stderr is not None
        return _messages((self._process.stderr.read() or b"").decode("utf-8", "replace"))

    def show(self, what: str) -> list[dict[str, object]]:
        """The rows of `SHOW what`."""
        cursor = self._console.execute(f"SHOW {what}".encode())
        names = [column.name for column in cursor.description or ()]
        return [dict(zip(names, row, strict=True)) for row in cursor]

    def greet(self, user: str, database: str, *, source: str | None, secret: str | None = None) -> str:
        """What a client gets: the authentication it is asked for ("ok", "cleartext", "md5", "sasl") or an error's text.

        `source` is a loopback address to come from, None for the unix socket. With a `secret` the question for a
        cleartext password is answered, and what comes then is the result.
        """
        with self._connect(source) as client:
            client.settimeout(5)
            pairs = "".join(f"{key}\0{value}\0" for key, value in (("user", user), ("database", database))) + "\0"
            body = struct.pack("!I", 3 << 16) + pairs.encode()
            client.sendall(struct.pack("!I", len(body) + 4) + body)
            answer = _answer(client)
            if answer == "cleartext" and secret is not None:
                reply = secret.encode() + b"\0"
                client.sendall(b"p" + struct.pack("!I", len(reply) + 4) + reply)
                answer = _answer(client)
            return answer

    def _connect(self, source: str | None) -> socket.socket:
        if source is None:
            client = socket.socket(socket.AF_UNIX)
            client.connect(str(self.place / ".s.PGSQL.6432"))
            return client
        with network_of(self._process.pid):
            client = socket.socket(socket.AF_INET6 if ":" in source else socket.AF_INET)
        client.bind((source, 0))
        client.connect(("::1" if ":" in source else "127.0.0.1", 6432))
        return client


@contextlib.contextmanager
def engine(place: Path, ini: str) -> Iterator[Engine]:
    """A running engine that tells every detail of what it reads. `ini` must keep its socket in /mnt."""
    put(place / "pgbouncer.ini", ini)
    with started(place) as process:
        said = until(process.stderr, "process up")
        assert "process up" in said, said
        assert process.stderr is not None
        os.set_blocking(process.stderr.fileno(), False)
        # An engine that nobody listens to would stand still.
        fcntl.fcntl(process.stderr, fcntl.F_SETPIPE_SZ, 1 << 20)
        console = psycopg.connect(
            host=str(place), port=6432, user=ADMIN, dbname="pgbouncer", autocommit=True, prepare_threshold=None
        )
        with console:
            yield Engine(place, process, console)


def first_words(place: Path, ini: str) -> Heard:
    """What an engine says that is started with a file: up to its being ready, or its end. It is stopped at once."""
    put(place / "pgbouncer.ini", ini)
    with started(place) as process:
        return _messages(until(process.stderr, "process up"))


@contextlib.contextmanager
def started(place: Path, network: int | None = None, *, talkative: bool = True) -> Iterator[subprocess.Popen[bytes]]:
    """pgbouncer with `place`/pgbouncer.ini, as a user without privileges, logging to its stderr, in full if talkative.

    `network`: a process in whose network namespace it runs, instead of one of its own.
    """
    place.chmod(0o755)
    shutil.chown(place, 6432, 6432)
    root = debian.tree("engine", debian.Recipe(packages=("pgbouncer",)))
    command = ["pgbouncer", *(["-v", "-v"] if talkative else []), "/mnt/pgbouncer.ini"]
    with _inside(root, place, "6432:6432", command, network) as process:
        yield process


@contextlib.contextmanager
def postgresql(
    place: Path,
    *,
    hba: str = "local all postgres trust\nlocal all all scram-sha-256",
    options: Sequence[str] = ("-h", ""),
) -> Iterator[psycopg.Connection[tuple[object, ...]]]:
    """A superuser's connection to a fresh PostgreSQL 17 with its socket in `place`; other roles log in by SCRAM.

    It sees `place` as /mnt. `hba` is its pg_hba.conf, `options` are arguments of postgres.
    """
    place.chmod(0o755)
    shutil.chown(place, 101, 103)
    script = """
    export PATH=/usr/lib/postgresql/17/bin LC_ALL=C.UTF-8
    initdb --pgdata=/mnt/data --encoding=UTF8 --auth-local=scram-sha-256 --username=postgres --no-sync >/dev/null
    echo "$1" > /mnt/data/pg_hba.conf
    shift
    exec postgres -D /mnt/data -k /mnt -c fsync=off -c logging_collector=off "$@"
    """
    root = images.image("spilo").root
    with _inside(root, place, "101:103", ["/bin/sh", "-euc", script, "sh", hba, *options]) as process:
        said = until(process.stderr, "ready to accept connections")
        assert "ready to accept connections" in said, said
        with psycopg.connect(host=str(place), user="postgres", dbname="postgres", autocommit=True) as connection:
            yield connection


def postmaster(place: Path) -> int:
    """The process of a PostgreSQL that runs in `place`."""
    return int((place / "data" / "postmaster.pid").read_text().splitlines()[0])


@functools.cache
def version() -> tuple[int, ...]:
    """The release of the engine that the tests are run against, by its own words."""
    tree = debian.tree("engine", debian.Recipe(packages=("pgbouncer",)))
    command = [OTHER_ENGINE] if OTHER_ENGINE else ["chroot", str(tree), "pgbouncer"]
    said = subprocess.run([*command, "--version"], check=True, capture_output=True, text=True).stdout
    return settings.parse_version(said)


def put(path: Path, text: str) -> None:
    """A file that the engine's user can read, replaced by rename as the engine needs it to notice."""
    fresh = path.with_name(path.name + ".new")
    fresh.write_text(text, encoding="utf-8", newline="")
    fresh.chmod(0o644)
    fresh.rename(path)


@contextlib.contextmanager
def _inside(
    root: Path, place: Path, user: str, command: list[str], network: int | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    enter = [*in_network(network), "--mount", "--propagation=private", "sh", "-euc", _ENTER, "sh"]
    binary = OTHER_ENGINE if command[0] == "pgbouncer" else ""
    arguments = [*enter, str(place), str(root), user, binary, *command]
    with subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, bufsize=0) as process:
        try:
            yield process
        finally:
            # SIGQUIT: both stop at once, without waiting for clients.
            process.send_signal(signal.SIGQUIT)


def in_network(process: int | None) -> list[str]:
    """The beginning of an unshare command that ends in the network namespace of a process, or in a new one."""
    return ["unshare", "--net"] if process is None else ["nsenter", f"--net=/proc/{process}/ns/net", "unshare"]


def until(stream: IO[bytes] | None, sign: str) -> str:
    """Everything up to the line with `sign`, or to the end."""
    assert stream is not None
    said = b""
    while True:
        line = stream.readline()
        said += line
        if not line or sign.encode() in line:
            return said.decode("utf-8", "replace")


def _messages(said: str) -> Heard:
    return Heard(tuple((match["level"], match["text"]) for match in _LINE.finditer(said)))


@contextlib.contextmanager
def network_of(process: int) -> Iterator[None]:
    """This thread in the network namespace of a process; a socket made there stays there."""
    with Path("/proc/self/ns/net").open() as home, Path(f"/proc/{process}/ns/net").open() as there:
        _enter(there.fileno())
        try:
            yield
        finally:
            _enter(home.fileno())


def _enter(namespace: int) -> None:
    if _LIBC.setns(namespace, _NEW_NETWORK):
        raise OSError(ctypes.get_errno(), "setns")


def _answer(client: socket.socket) -> str:
    """The first message of the server: the kind of authentication, or the text of the error."""
    kind, size = struct.unpack("!cI", _exactly(client, 5))
    body = _exactly(client, size - 4)
    if kind == b"R":
        return {0: "ok", 3: "cleartext", 5: "md5", 10: "sasl"}[struct.unpack("!I", body[:4])[0]]
    assert kind == b"E", kind
    fields = {field[:1]: field[1:].decode("utf-8", "replace") for field in body.split(b"\0") if field}
    return fields[b"M"]


def _exactly(client: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        more = client.recv(size - len(data))
        assert more, "the engine hung up without a word"
        data += more
    return data
