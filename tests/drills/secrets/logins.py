"""What a login costs one instance: a userlist of verifiers, and the plaintext userlist of the usual guides."""

from __future__ import annotations

import secrets
import statistics
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psycopg

from pooler import bundle, scram, userlist, variables
from pooler.bundle import RELEASES, RUNTIME, Facts
from pooler.files import File
from pooler.server import Server
from tests.drills.figures import Figure
from tests.engine import trial
from tests.engine.miniature import TLS, UID, Miniature, certified, miniature

from .scene import Scene

CONSOLE = 50001
ROUNDS, LOGINS = 7, 60
SOCKET = "/run/postgresql"

_GUIDE = f"""
[databases]
app = host={SOCKET} dbname=postgres
[pgbouncer]
listen_addr = *
listen_port = 6432
unix_socket_dir = {RUNTIME}/{CONSOLE}
auth_type = scram-sha-256
auth_file = {RELEASES}/guide/userlist.txt
pool_mode = transaction
max_client_conn = 1000
"""

_Way = Callable[[], None]


def logins(_scene: Scene) -> list[Figure]:
    """Interleaved; medians. The fleet has no part in it: an instance alone, with a PostgreSQL behind it."""
    password = secrets.token_hex(16)
    verifier = scram.verifier(password)
    with ExitStack() as stack:
        place = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="pgfleet-")))
        owner = stack.enter_context(trial.postgresql(place))
        owner.execute(f"CREATE ROLE app LOGIN PASSWORD '{verifier}'".encode())
        ours = stack.enter_context(_ours(place, verifier))
        guide = stack.enter_context(_guide(place, password))
        ways: dict[str, tuple[Miniature, _Way]] = {
            "verifiers": (ours, _by_socket(ours, password)),
            "plaintext": (guide, _by_socket(guide, password)),
            "verifiers, TLS": (ours, _by_tls(ours, password)),
        }
        costs: dict[str, list[float]] = {name: [] for name in ways}
        for number in range(ROUNDS + 1):
            for name, (host, log_in) in ways.items():
                seconds = _cost(host, log_in)
                if number:  # the first one warms up
                    costs[name].append(seconds)
    rate = {name: 1 / statistics.median(found) for name, found in costs.items()}
    ratios = [plain / proved for plain, proved in zip(costs["plaintext"], costs["verifiers"], strict=True)]
    return [
        *(Figure(f"logins per CPU second of one instance: {name}", value, "") for name, value in rate.items()),
        Figure("logins: verifiers against plaintext", statistics.median(ratios), "times", least=20),
    ]


def _cost(host: Miniature, log_in: _Way) -> float:
    """CPU seconds of the engine for one login."""
    before = _cpu(host)
    for _number in range(LOGINS):
        log_in()
    return (_cpu(host) - before) / LOGINS


def _cpu(host: Miniature) -> float:
    nanoseconds = Path(f"/proc/{host.instances[CONSOLE].process.pid}/schedstat").read_text().split()[0]
    return int(nanoseconds) / 1e9


def _by_socket(host: Miniature, password: str) -> _Way:
    """Without TLS, so that the password alone makes the difference."""

    def log_in() -> None:
        psycopg.connect(
            host=str(host.path(f"{RUNTIME}/{CONSOLE}")), port=6432, user="app", dbname="app", password=password
        ).close()

    return log_in


def _by_tls(host: Miniature, password: str) -> _Way:
    def log_in() -> None:
        with trial.network_of(host.instances[CONSOLE].process.pid):
            psycopg.connect(
                host="127.0.0.1", port=6432, user="app", dbname="app", password=password, sslmode="require"
            ).close()

    return log_in


@contextmanager
def _ours(place: Path, verifier: str) -> Iterator[Miniature]:
    """As the role pgbouncer renders it, but that the engine opens its port by itself."""
    given = {
        "image": "localhost/i",
        "instances": 1,
        "server": SOCKET,
        "agent": {"enabled": False},
        "userlist_only": True,
        "databases": [{"name": "app", "dbname": "postgres"}],
        "users": [{"name": "app", "verifier": verifier}],
    }
    with miniature(place) as host:
        host.write(certified())
        host.fresh(
            bundle.build(variables.read(given), Facts(Server(SOCKET), f"{TLS}/server/01", f"{TLS}/client/01")), CONSOLE
        )
        yield host


@contextmanager
def _guide(place: Path, password: str) -> Iterator[Miniature]:
    with miniature(place) as host:
        release = f"{RELEASES}/guide"
        host.write(
            [
                File(f"{release}/{CONSOLE}.ini", _GUIDE.encode(), 0o600, UID),
                File(f"{release}/userlist.txt", userlist.render({"app": password}).encode(), 0o600, UID),
            ]
        )
        host.switch("guide")
        host.start("", CONSOLE)
        yield host
