"""A pooler host in miniature: a bundle's files below a directory, and its instances on the real engine.

Each engine finds the files where a host has them, since mount and network namespaces of its own put them there.
systemd, podman and the sockets they pass are not part of it: the engine opens its ports by itself.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import psycopg

from pooler import bundle, certificates, observed
from pooler.bundle import CONFIGURATION, CURRENT, RELEASES, RUNTIME, Bundle, Facts
from pooler.files import File
from pooler.model import Pooler
from pooler.observed import FoundFile, Observed
from pooler.plan import Plan, plan
from tests.engine import trial
from tests.lab import debian

IMAGE = "0" * 64
LEAVES = ("01", "02")
"""There are two certificates for clients and two for PostgreSQL."""
TLS = f"{CONFIGURATION}/tls"
IDENT = f"{TLS}/ident.conf"
UID = 6432

_ENTER = """
ip link set lo up
mount --bind "$1$2" "$3$2"
mount -t tmpfs tmpfs "$3/run"
mkdir -p "$3$4" "$3/run/postgresql"
mount --bind "$1$4" "$3$4"
[ -z "$5" ] || mount --bind "$5" "$3/run/postgresql"
[ -z "$6" ] || mount --bind "$6" "$3/usr/sbin/pgbouncer"
exec chroot --userspec="$7:$7" "$3" pgbouncer "$8"
"""

Row = dict[str, str | None]


@dataclass
class Instance:
    """A running engine, and a connection to its console."""

    process: subprocess.Popen[bytes]
    console: psycopg.Connection[tuple[object, ...]]
    trial: trial.Engine
    unit_digest: str

    def show(self, what: str) -> list[Row]:
        return self.ask(f"SHOW {what}")

    def ask(self, command: str) -> list[Row]:
        """What the console answers, as the texts it sends. Raises psycopg.Error with its own words."""
        result = self.console.execute(command.encode()).pgresult
        assert result is not None
        names = [(result.fname(column) or b"").decode() for column in range(result.nfields)]
        values = ([result.get_value(row, column) for column in range(len(names))] for row in range(result.ntuples))
        return [
            {name: None if value is None else value.decode() for name, value in zip(names, row, strict=True)}
            for row in values
        ]


class Miniature:
    """One host. `socket` is a directory that the engines see as /run/postgresql, `network` a process they share the
    network namespace with."""

    def __init__(self, root: Path, socket: Path | None = None, network: int | None = None) -> None:
        self.root = root
        self.socket = socket
        self.network = network
        self.instances: dict[int, Instance] = {}
        self.unfinished = observed.Unfinished()
        self._running = contextlib.ExitStack()
        self._stops: dict[int, contextlib.ExitStack] = {}

    def clear(self) -> None:
        """No instance, and no file but certificates."""
        self.stop(*tuple(self.instances))
        for path in (RELEASES, f"{CONFIGURATION}/databases", RUNTIME, "/etc/containers", "/etc/systemd"):
            shutil.rmtree(self.path(path), ignore_errors=True)
        self.path(CURRENT).unlink(missing_ok=True)
        self.unfinished = observed.Unfinished()
        self.path(RUNTIME).mkdir(parents=True)

    def path(self, name: str) -> Path:
        return self.root / name.lstrip("/")

    def write(self, files: Iterable[File]) -> None:
        """Each by one rename, as on a host."""
        for file in files:
            path = self.path(file.path)
            path.parent.mkdir(parents=True, exist_ok=True)
            fresh = path.with_name(path.name + ".new")
            fresh.write_bytes(file.content)
            fresh.chmod(file.mode)
            os.chown(fresh, file.owner, file.owner)
            fresh.rename(path)

    def switch(self, release: str) -> None:
        link = self.path(CURRENT)
        fresh = link.with_name("current.new")
        fresh.unlink(missing_ok=True)
        fresh.symlink_to(f"releases/{release}")
        fresh.rename(link)

    def start(self, unit_digest: str, *consoles: int) -> None:
        """Start instances and wait until they serve. AssertionError with the engine's words when one does not."""
        for console in consoles:
            directory = self.path(f"{RUNTIME}/{console}")
            directory.mkdir(exist_ok=True)
            os.chown(directory, UID, UID)
        stops = {console: contextlib.ExitStack() for console in consoles}
        self._stops |= stops
        processes = {console: stops[console].enter_context(self._process(console)) for console in consoles}
        for console, process in processes.items():
            said = _until_up(process)
            assert b"process up" in said, said.decode()
            directory = self.path(f"{RUNTIME}/{console}")
            connection = stops[console].enter_context(_console(directory))
            engine = trial.Engine(directory, process, connection)
            self.instances[console] = Instance(process, connection, engine, unit_digest)

    def stop(self, *consoles: int) -> None:
        for console in consoles:
            self.instances.pop(console, None)
            self._stops.pop(console).close()

    def fresh(self, made: Bundle, *consoles: int) -> None:
        """A bare host on which the bundle is put and its instances are started."""
        self.clear()
        self.write(made.files)
        self.switch(made.release)
        self.start(made.unit_digest, *consoles)

    def apply(self, todo: Plan, made: Bundle, upto: int | None = None) -> None:
        """Do what a plan says, in its order, or only the first steps. AssertionError when an engine complains."""
        for step in self.steps(todo, made)[:upto]:
            step()

    def steps(self, todo: Plan, made: Bundle) -> list[Callable[[], None]]:
        """What can come to an end in between: each file, the switch, each instance."""
        steps: list[Callable[[], None]] = [partial(self.remember, todo.expel, todo.reconnect)]
        steps += [partial(self.write, [file]) for file in todo.write]
        steps += [partial(self.path(path).unlink) for path in todo.delete]
        steps += [partial(self.switch, made.release)] * todo.switch
        steps += [partial(self.reload, console) for console in todo.reload]
        for console in todo.reload:
            steps += [partial(self.reconnect, console, name) for name in todo.reconnect]
            steps += [partial(self.expel, console, name) for name in todo.expel]
        steps.append(partial(self.remember, (), ()))
        steps += [partial(self.start, made.unit_digest, console) for console in todo.start]
        steps += [partial(self.restart, made.unit_digest, console) for console in todo.restart]
        steps += [partial(self.stop, console) for console in todo.remove]
        return steps

    def remember(self, expel: tuple[str, ...], reconnect: tuple[str, ...]) -> None:
        """What the next run finishes should this one come to its end."""
        self.unfinished = observed.Unfinished(expel, reconnect)

    def reconnect(self, console: int, database: str) -> None:
        self.instances[console].ask(f'RECONNECT "{database}"')

    def expel(self, console: int, user: str) -> None:
        """End the sessions of a user, but not this console. Nobody logs in meanwhile."""
        for row in self.instances[console].show("CLIENTS"):
            if row["user"] == user and (row["user"], row["database"]) != ("pgbouncer", "pgbouncer"):
                self.instances[console].ask(f"KILL_CLIENT {row['id']}")

    def restart(self, unit_digest: str, console: int) -> None:
        self.stop(console)
        self.start(unit_digest, console)

    def reload(self, console: int) -> None:
        instance = self.instances[console]
        instance.trial.heard()
        instance.ask("RELOAD")
        complaints = instance.trial.heard().texts("ERROR", "FATAL")
        assert not complaints, complaints

    def observed(self, pooler: Pooler, made: Bundle) -> Observed:
        """What reading the host would tell; its units are active, its image is always the same."""
        link = self.path(CURRENT)
        paths = [path for path in (link.resolve().glob("*") if link.exists() else ()) if path.is_file()]
        files = {
            name: path
            for path in (*paths, *(self.path(file.path) for file in (made.databases, *made.units)))
            if path.exists() and (name := "/" + str(path.relative_to(self.root)))
        }
        return Observed(
            release=link.readlink().name if link.exists() else "",
            files={
                name: FoundFile(path.read_bytes(), path.stat().st_mode & 0o7777, path.stat().st_uid)
                for name, path in files.items()
            },
            image_id=IMAGE,
            unfinished=self.unfinished,
            instances=observed.instances(
                {
                    f"pgbouncer@{console}.{kind}": {
                        "ActiveState": "active",
                        "InvocationID": f"{instance.process.pid:032x}",
                    }
                    for console, instance in self.instances.items()
                    for kind in ("service", *(("socket",) if pooler.dispatch == "socket" else ()))
                },
                {f"pgbouncer-{console}": (IMAGE, instance.unit_digest) for console, instance in self.instances.items()},
                {console: answers(instance) for console, instance in self.instances.items()},
            ),
        )

    @contextlib.contextmanager
    def _process(self, console: int) -> Iterator[subprocess.Popen[bytes]]:
        tree = debian.tree("engine", debian.Recipe(packages=("pgbouncer",)))
        places = [str(self.root), CONFIGURATION, str(tree), RUNTIME, str(self.socket or "")]
        places += [trial.OTHER_ENGINE, str(UID)]
        enter = [*trial.in_network(self.network), "--mount", "--propagation=private"]
        command = [*enter, "sh", "-euc", _ENTER, "sh", *places]
        command.append(f"{CURRENT}/{console}.ini")
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, bufsize=0) as process:
            try:
                yield process
            finally:
                # At once, without waiting for clients.
                process.send_signal(signal.SIGQUIT)


ASKED = ("VERSION", "CONFIG", "DATABASES", "USERS", "PEERS", "LISTS", "STATE")
"""More than a plan may want to know; what it does not know it leaves aside."""


def answers(instance: Instance) -> Mapping[str, list[dict[str, str]]]:
    """As read from `psql --csv`, which prints nothing for NULL."""
    return {what: [{name: text or "" for name, text in row.items()} for row in instance.show(what)] for what in ASKED}


@contextlib.contextmanager
def miniature(socket: Path | None = None, network: int | None = None) -> Iterator[Miniature]:
    """A host without files, below a directory that the engine's user may walk through."""
    with tempfile.TemporaryDirectory(prefix="pgfleet-") as name:
        root = Path(name)
        root.chmod(0o755)
        for path in (CONFIGURATION, RUNTIME):
            (root / path.lstrip("/")).mkdir(parents=True)
        host = Miniature(root, socket, network)
        try:
            yield host
        finally:
            host.stop(*tuple(host.instances))


def certified() -> list[File]:
    """Certificates in the directories of LEAVES, and the file of maps."""
    now = datetime.now(UTC)
    authority = certificates.new_authority("fleet", now=now)
    request = certificates.LeafRequest("pgbouncer", dns_names=("pooler.example",))
    files = [File(IDENT, b"ops root app\n", 0o644, UID)]
    for directory in ("server", "client"):
        for serial in LEAVES:
            leaf = certificates.issue(authority, request, now)
            place = f"{TLS}/{directory}/{serial}"
            files += [
                File(f"{place}/tls.crt", leaf.certificate_pem.encode(), 0o644, UID),
                File(f"{place}/tls.key", leaf.key_pem, 0o600, UID),
                File(f"{place}/ca.crt", leaf.authority_pem.encode(), 0o644, UID),
            ]
    return files


def planned(host: Miniature, new: Pooler, facts: Facts) -> tuple[Bundle, Observed, Plan]:
    """The host is read, and the way to its new state planned."""
    made = bundle.build(new, facts)
    seen = host.observed(new, made)
    known = replace(
        facts,
        verifiers=seen.verifiers(),
        users=seen.users(),
        release=seen.release,
        tombstones=seen.tombstones(),
        running=seen.running(),
        remembering=seen.remembering(),
    )
    made = bundle.build(new, known)
    return made, host.observed(new, made), plan(new, made, host.observed(new, made))


def _until_up(process: subprocess.Popen[bytes]) -> bytes:
    """What it says until it serves, or until its end; from then on its log is read without waiting."""
    assert process.stderr is not None
    fcntl.fcntl(process.stderr, fcntl.F_SETPIPE_SZ, 1 << 20)
    said = b""
    while b"process up" not in said:
        line = process.stderr.readline()
        if not line:
            return said
        said += line
    os.set_blocking(process.stderr.fileno(), False)
    return said


@contextlib.contextmanager
def _console(directory: Path) -> Iterator[psycopg.Connection[tuple[object, ...]]]:
    """The console as the engine's own user, who needs no password."""
    os.seteuid(UID)
    try:
        connection = psycopg.connect(
            host=str(directory),
            port=6432,
            user="pgbouncer",
            dbname="pgbouncer",
            autocommit=True,
            prepare_threshold=None,
        )
    finally:
        os.seteuid(0)
    with connection:
        yield connection
