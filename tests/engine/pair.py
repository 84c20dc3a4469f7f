"""Two real PostgreSQL servers, instances of the real engine and a real agent, in one network namespace.

The files are where a host has them, since each process has mounts of its own. Instead of Patroni there is a stand-in of
its REST API, which says what the test tells it: who promotes and who elects are the test as well.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import select
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

import psycopg

from pooler import certificates, ini
from pooler.agent.config import AgentConfig, Target
from pooler.server import Server
from tests.engine import trial
from tests.lab import debian, images

UID = 6432
PORT = 6432
ROLE = "pgbouncer"
ADDRESSES = ("127.0.0.11", "127.0.0.12")
PATRONI = "127.0.0.10"
SECONDS = 30.0
"""After which something that is awaited is not coming."""

HOSTS_FILE = "etc/databases/databases.ini"

_CHECKOUT = Path(__file__).parents[2]
_POSTGRESQL = "/usr/lib/postgresql/17/bin"

# $1 is the place of the files, $2 the root that they are seen in, $3 the checkout.
_ENTER_HOST = """
mount --bind "$1/etc" "$2/etc/pgbouncer"
mount --bind "$1/run" "$2/run"
mount --bind "$1/lib" "$2/var/lib"
mount --bind "$3" "$2/srv"
root=$2
shift 3
exec chroot --userspec=6432:6432 "$root" "$@"
"""
_ENTER_SERVER = """
mount --bind "$1" "$2/mnt"
root=$2
shift 3
exec chroot --userspec=101:103 "$root" "$@"
"""

HBA = f"""
local all postgres trust
hostssl all {ROLE} 127.0.0.0/8 cert
hostssl all app 127.0.0.0/8 trust
host replication postgres 127.0.0.0/8 trust
"""

_INI = """
[pgbouncer]
listen_addr =
listen_port = {port}
unix_socket_dir = /run/pgbouncer/{console}
auth_type = hba
auth_file = /etc/pgbouncer/userlist.txt
auth_hba_file = /etc/pgbouncer/hba.conf
pool_mode = transaction
server_login_retry = 1
server_connect_timeout = 2
tcp_user_timeout = 5000
server_tls_sslmode = verify-full
server_tls_ca_file = /etc/pgbouncer/leaf/ca.crt
server_tls_cert_file = /etc/pgbouncer/leaf/tls.crt
server_tls_key_file = /etc/pgbouncer/leaf/tls.key
log_connections = 0
log_disconnections = 0
log_stats = 0
ignore_startup_parameters = options,extra_float_digits
{more}
[databases]
%include /etc/pgbouncer/databases/databases.ini
"""

_ENGINE_HBA = f"""
local pgbouncer_agent,pgbouncer_agent_replica {ROLE} trust
local pgbouncer_agent,pgbouncer_agent_replica all reject
local all app trust
"""

Entries = dict[str, dict[str, str]]
ENTRIES: Entries = {
    "app": {"dbname": "postgres"},
    "pgbouncer_agent": {"dbname": "postgres", "pool_size": "1"},
}


class Process:
    """A running program whose log is read line by line."""

    def __init__(self, popen: subprocess.Popen[bytes]) -> None:
        self.popen = popen
        self.log: list[str] = []
        self._rest = b""
        self._read = 0

    def hears(self, sign: str, seconds: float = SECONDS) -> str:
        """The next line with this sign, from where was read last. AssertionError when it does not come."""
        deadline = time.monotonic() + seconds
        while True:
            while self._read < len(self.log):
                self._read += 1
                if sign in self.log[self._read - 1]:
                    return self.log[self._read - 1]
            assert self._more(deadline), f"{sign!r} does not come after:\n" + "\n".join(self.log[-30:])

    def silent_on(self, sign: str) -> bool:
        """Whether nothing that was logged so far has this sign."""
        while self._more(time.monotonic()):
            pass
        return not any(sign in line for line in self.log)

    def kill(self, number: signal.Signals = signal.SIGKILL) -> None:
        self.popen.send_signal(number)
        self.popen.wait()

    def _more(self, deadline: float) -> bool:
        assert self.popen.stderr is not None
        ready, _, _ = select.select([self.popen.stderr], [], [], max(0.0, deadline - time.monotonic()))
        chunk = os.read(self.popen.stderr.fileno(), 1 << 16) if ready else b""
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        self.log += [line.decode("utf-8", "replace") for line in lines]
        return bool(chunk)


class Database:
    """One PostgreSQL server at an address of the namespace."""

    def __init__(self, pair: Pair, number: int) -> None:
        self.server = Server(ADDRESSES[number])
        self.name = f"db{number + 1}"
        self.place = pair.place / self.name
        self._pair = pair
        self.process: Process | None = None

    def start(self) -> None:
        command = [f"{_POSTGRESQL}/postgres", "-D", "/mnt/data"]
        self.process = self._pair.launch(_ENTER_SERVER, self.place, images.image("spilo").root, command)
        self.process.hears("ready to accept")

    def crash(self) -> None:
        """The postmaster dies, and with it, at once, every backend."""
        assert self.process is not None
        children = Path(f"/proc/{self.process.popen.pid}/task/{self.process.popen.pid}/children").read_text().split()
        self.process.kill()
        for child in children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(child), signal.SIGKILL)
        (self.place / "data/postmaster.pid").unlink(missing_ok=True)

    def run(self, command: str) -> None:
        process = self._pair.launch(_ENTER_SERVER, self.place, images.image("spilo").root, ["sh", "-euc", command])
        _, said = process.popen.communicate(timeout=60)
        assert process.popen.returncode == 0, said.decode()

    def sql(self, statement: str) -> Any:
        with psycopg.connect(host=str(self.place), user="postgres", dbname="postgres", autocommit=True) as connection:
            cursor = connection.execute(statement.encode())
            row = cursor.fetchone() if cursor.description else None
            return row[0] if row else None

    def rules(self, text: str) -> None:
        """Another pg_hba.conf, in force for new connections."""
        (self.place / "data/pg_hba.conf").write_text(text)
        self.reload()

    def reload(self) -> None:
        """Its files are in force for new connections when this returns."""
        before = self.sql("SELECT pg_conf_load_time()")
        self.sql("SELECT pg_reload_conf()")
        until(lambda: bool(self.sql("SELECT pg_conf_load_time()") != before))

    def promote(self) -> None:
        assert self.sql("SELECT pg_promote()") is True


class Patroni:
    """A stand-in for the REST API of one member: GET /cluster says what `leader` and `replicas` are set to."""

    def __init__(self, pair: Pair) -> None:
        self.leader: Server | None = None
        self.replicas: dict[Server, dict[str, object]] = {}
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = json.dumps({"members": outer._members()}).encode()
                self.send_response(200)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_arguments: object) -> None:
                """Quiet."""

        with pair.inside():
            self._http = ThreadingHTTPServer((PATRONI, 8008), Handler)
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.05})
        self._thread.start()

    def close(self) -> None:
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()

    def _members(self) -> list[dict[str, object]]:
        found: list[dict[str, object]] = []
        if self.leader:
            found.append({"name": "l", "role": "leader", "state": "running", **_where(self.leader)})
        for server, more in self.replicas.items():
            member = {"name": server.host, "role": "replica", "state": "streaming", "lag": 0, **_where(server)}
            found.append({**member, **more})
        return found


class Agent:
    """A running agent. `ask` is one request over a connection of its own."""

    def __init__(self, pair: Pair, process: Process) -> None:
        self.process = process
        self._pair = pair

    def connect(self, *, leaf: bool = False) -> http.client.HTTPSConnection:
        """A connection that is kept; with the role's certificate when there are orders to be given."""
        tls = ssl.create_default_context(cafile=str(self._pair.place / "etc/leaf/ca.crt"))
        if leaf:
            tls.load_cert_chain(self._pair.place / "etc/leaf/tls.crt", self._pair.place / "etc/leaf/tls.key")
        connection = http.client.HTTPSConnection("127.0.0.1", 9127, timeout=SECONDS, context=tls)
        with self._pair.inside():
            connection.connect()
        return connection

    def ask(self, path: str, method: str = "GET", body: Mapping[str, Any] | None = None) -> tuple[int, dict[str, Any]]:
        connection = self.connect()
        try:
            return tell(connection, path, method, body)
        finally:
            connection.close()

    def status(self) -> dict[str, Any]:
        return self.ask("/status")[1]

    def until(self, what: str, wanted: Any) -> None:
        """Ask until GET /status says so."""
        deadline = time.monotonic() + SECONDS
        found = self.status()
        while found[what] != wanted:
            assert time.monotonic() < deadline, found
            found = self.status()

    def until_writable(self, server: str) -> None:
        """Ask until it has heard from this server that it takes writes."""
        deadline = time.monotonic() + SECONDS
        while not self.status()["servers"].get(server, {}).get("writable"):
            assert time.monotonic() < deadline, self.status()

    def until_ready(self, path: str = "/ready", *, ready: bool = True) -> dict[str, Any]:
        """Ask until it says so; one that follows has then also heard from the leader itself, so that it can lose it."""
        deadline = time.monotonic() + SECONDS
        _, found = self.ask(path)
        while found["ready"] != ready:
            assert time.monotonic() < deadline, found
            _, found = self.ask(path)
        if ready and found["leader"]:
            self.until("confirmed", True)
        return found


class Pair:
    """The namespace and all that lives in it."""

    def __init__(self, place: Path, running: contextlib.ExitStack) -> None:
        self.place = place
        self._running = running
        self.root = debian.tree("agent", debian.Recipe(packages=("pgbouncer", "python3")))
        self._net = subprocess.Popen(
            ["unshare", "--net", "sh", "-euc", "ip link set lo up; echo up; exec sleep infinity"],
            stdout=subprocess.PIPE,
        )
        running.callback(self._net.wait)
        running.callback(self._net.kill)
        assert self._net.stdout is not None
        assert self._net.stdout.readline() == b"up\n"
        running.callback(self._net.stdout.close)
        self.databases = (Database(self, 0), Database(self, 1))
        self._lay_out()
        self.patroni = Patroni(self)
        running.callback(self.patroni.close)
        self.instances: dict[int, Process] = {}

    @contextlib.contextmanager
    def inside(self) -> Iterator[None]:
        """This thread in the namespace: a socket made there stays there."""
        with trial.network_of(self._net.pid):
            yield

    def launch(self, enter: str, place: Path, root: Path, command: list[str]) -> Process:
        """Run it until the end of the test at the latest. Shared memory of a server that is killed goes with it."""
        space = [
            "nsenter",
            f"--net=/proc/{self._net.pid}/ns/net",
            "unshare",
            "--mount",
            "--ipc",
            "--propagation=private",
        ]
        arguments = [*space, "sh", "-euc", enter, "sh", str(place), str(root), str(_CHECKOUT), *command]
        popen = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, bufsize=0)
        assert popen.stderr is not None
        self._running.callback(popen.stderr.close)
        self._running.callback(popen.wait)
        self._running.callback(popen.kill)
        return Process(popen)

    def start_databases(self) -> None:
        """The first leads, the second streams from it."""
        first, second = self.databases
        first.run(f"{_POSTGRESQL}/initdb --pgdata=/mnt/data --encoding=UTF8 --username=postgres --no-sync >/dev/null")
        data = first.place / "data"
        with (data / "postgresql.conf").open("a") as file:
            file.write("unix_socket_directories = '/mnt'\nfsync = off\nssl = on\nlogging_collector = off\n")
            file.write("ssl_cert_file = '/mnt/leaf/tls.crt'\nssl_key_file = '/mnt/leaf/tls.key'\n")
            file.write("ssl_ca_file = '/mnt/leaf/ca.crt'\nlisten_addresses = '127.0.0.11'\n")
        (data / "pg_hba.conf").write_text(HBA)
        first.start()
        first.sql(f"CREATE ROLE {ROLE} LOGIN")
        first.sql("CREATE ROLE app LOGIN")
        first.sql("GRANT CREATE ON SCHEMA public TO app")
        second.run(
            f"{_POSTGRESQL}/pg_basebackup --host=127.0.0.11 --username=postgres --pgdata=/mnt/data"
            " --write-recovery-conf --checkpoint=fast --no-sync"
        )
        with (second.place / "data/postgresql.conf").open("a") as file:
            file.write("listen_addresses = '127.0.0.12'\n")
        second.start()
        self.patroni.leader = first.server
        self.patroni.replicas = {second.server: {}}

    def start_instances(self, *consoles: int, entries: Entries = ENTRIES) -> None:
        """Their databases point at the first server, unless they say something else."""
        where = {"host": ADDRESSES[0], "port": "5432"}
        self.write_hosts({name: where | entry for name, entry in entries.items()})
        for console in consoles:
            self.add_instance(console)

    def add_instance(self, console: int, *, more: str = "", peers: str = "") -> None:
        """One more, with the databases of the others; `more` are further settings."""
        (self.place / f"run/pgbouncer/{console}").mkdir(exist_ok=True)
        os.chown(self.place / f"run/pgbouncer/{console}", UID, UID)
        trial.put(self.place / f"etc/{console}.ini", _INI.format(port=PORT, console=console, more=more) + peers)
        self.start_instance(console)

    def start_instance(self, console: int) -> None:
        (self.place / f"run/pgbouncer/{console}/.s.PGSQL.{PORT}").unlink(missing_ok=True)
        command = ["pgbouncer", f"/etc/pgbouncer/{console}.ini"]
        self.instances[console] = self.launch(_ENTER_HOST, self.place, self.root, command)
        self.instances[console].hears("process up")

    def start_agent(self, *, targets: Mapping[str, Target] | None = None, **more: Any) -> Agent:
        """An agent that is ready, that is, has told systemd so."""
        config = AgentConfig(
            port=PORT,
            consoles=tuple(self.instances),
            server_leaf="/etc/pgbouncer/leaf",
            client_leaf="/etc/pgbouncer/leaf",
            role=ROLE,
            dbname="postgres",
            patroni=(f"http://{PATRONI}:8008",),
            targets={"app": "leader", "pgbouncer_agent": "leader"} if targets is None else targets,
            **more,
        )
        trial.put(self.place / "etc/agent.json", config.to_json())
        path = self.place / "run/notify"
        path.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
            systemd.bind(str(path))
            path.chmod(0o777)
            environment = ["NOTIFY_SOCKET=/run/notify", "PYTHONPATH=/srv", "PYTHONDONTWRITEBYTECODE=1"]
            program = ["python3", "-m", "pooler.cli", "agent", "/etc/pgbouncer/agent.json"]
            command = ["/usr/bin/env", *environment, *program]
            process = self.launch(_ENTER_HOST, self.place, self.root, command)
            systemd.settimeout(SECONDS)
            try:
                assert systemd.recv(100) == b"READY=1"
            except TimeoutError:
                raise AssertionError(process.hears("\0no such sign", 0)) from None
        return Agent(self, process)

    def beside_agent(self, *words: str) -> tuple[int, str]:
        """Exit status and output of `pooler WORDS` where the agent runs."""
        space = ["nsenter", f"--net=/proc/{self._net.pid}/ns/net", "unshare", "--mount", "--propagation=private"]
        enter = [*space, "sh", "-euc", _ENTER_HOST, "sh", str(self.place), str(self.root), str(_CHECKOUT)]
        program = [
            "/usr/bin/env",
            "PYTHONPATH=/srv",
            "PYTHONDONTWRITEBYTECODE=1",
            "python3",
            "-m",
            "pooler.cli",
            *words,
        ]
        done = subprocess.run([*enter, *program], stdout=subprocess.PIPE, timeout=4 * SECONDS, check=False)
        return done.returncode, done.stdout.decode()

    def client(self, console: int = 50001, dbname: str = "app") -> psycopg.Connection[tuple[Any, ...]]:
        """A client of an instance, over its unix socket."""
        return psycopg.connect(
            host=str(self.place / f"run/pgbouncer/{console}"),
            port=PORT,
            user="app",
            dbname=dbname,
            autocommit=True,
            prepare_threshold=None,
        )

    def console(self, command: str, console: int = 50001) -> list[dict[str, Any]]:
        """What the console answers to somebody who is not the agent."""
        os.seteuid(UID)
        try:
            connection = psycopg.connect(
                host=str(self.place / f"run/pgbouncer/{console}"),
                port=PORT,
                user="pgbouncer",
                dbname="pgbouncer",
                autocommit=True,
                prepare_threshold=None,
            )
        finally:
            os.seteuid(0)
        with connection:
            cursor = connection.execute(command.encode())
            names = [column.name for column in cursor.description or ()]
            return [dict(zip(names, row, strict=True)) for row in cursor] if names else []

    def hosts(self) -> dict[str, Mapping[str, str]]:
        return dict(ini.parse((self.place / HOSTS_FILE).read_text()).databases)

    def write_hosts(self, entries: Mapping[str, Mapping[str, str]]) -> None:
        trial.put(self.place / HOSTS_FILE, ini.render_databases(entries))
        os.chown(self.place / HOSTS_FILE, UID, UID)

    def record(self, name: str) -> Path:
        return self.place / "lib/pgbouncer" / name

    def _lay_out(self) -> None:
        now = datetime.now(UTC)
        authority = certificates.new_authority("fleet", now=now)
        request = certificates.LeafRequest(ROLE, dns_names=("pooler.example",), addresses=(*ADDRESSES, "127.0.0.1"))
        leaf = certificates.issue(authority, request, now)
        self.place.chmod(0o755)
        for name in ("etc/databases", "etc/leaf", "run/pgbouncer", "lib/pgbouncer", "db1/leaf", "db2/leaf"):
            (self.place / name).mkdir(parents=True)
        for leaves, uid in (("etc/leaf", UID), ("db1/leaf", 101), ("db2/leaf", 101)):
            directory = self.place / leaves
            (directory / "tls.crt").write_text(leaf.certificate_pem)
            (directory / "tls.key").write_bytes(leaf.key_pem)
            (directory / "ca.crt").write_text(leaf.authority_pem)
            (directory / "tls.key").chmod(0o600)
            for path in (directory, *directory.iterdir()):
                os.chown(path, uid, uid)
        for database in self.databases:
            shutil.chown(database.place, 101, 103)
        trial.put(self.place / "etc/userlist.txt", f'"app" ""\n"{ROLE}" ""\n')
        trial.put(self.place / "etc/hba.conf", _ENGINE_HBA)
        for name in ("etc/databases", "run", "run/pgbouncer", "lib/pgbouncer"):
            os.chown(self.place / name, UID, UID)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._running.close()


def pair() -> Pair:
    """Nothing runs in it yet but the stand-in. To be used as a context."""
    running = contextlib.ExitStack()
    try:
        # Not below a directory of root's own: the consoles let in only the engine's user.
        return Pair(Path(running.enter_context(tempfile.TemporaryDirectory(prefix="pair-"))), running)
    except BaseException:
        running.close()
        raise


def until(so: Callable[[], bool]) -> None:
    """Look again and again, until it is so."""
    deadline = time.monotonic() + SECONDS
    while not so():
        assert time.monotonic() < deadline, "it does not come to be so"


def tell(
    connection: http.client.HTTPConnection, path: str, method: str = "POST", body: Mapping[str, Any] | None = None
) -> tuple[int, dict[str, Any]]:
    """One request, and what is answered."""
    connection.request(method, path, json.dumps(body or {}))
    answer = connection.getresponse()
    return answer.status, json.loads(answer.read())


def _where(server: Server) -> dict[str, object]:
    return {"host": server.host, "port": server.port}
