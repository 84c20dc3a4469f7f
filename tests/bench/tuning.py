"""What settings of the engine are worth: the fleet's own engine, and the same with one thing changed.

Each runs bare with the files of one pooler host, and rounds of all take turns. CPU of the engine, to that as shipped:
less than 1 pays.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from tests.drills.figures import Figure
from tests.drills.fleet import Fleet

from . import peers
from .ways import CLIENTS, Run, Scene, Way, middle, ratio

HOST = "pool1"
ROUNDS = 7
SHIPPED = "as shipped"

_PORT = 6510
_LARGE = "SELECT repeat('x', 1000) FROM generate_series(1, 200);\n"
"""200 kB."""
_LARGE_CLIENTS = 4
_BACKLOG = "listen_backlog 4096"
_AT_ONCE, _STORMS = 1000, 5


@dataclass(frozen=True)
class Change:
    """`before`: sh that runs in the process which becomes the engine."""

    settings: Mapping[str, str] = field(default_factory=dict)
    before: str = ""


CHANGES: Mapping[str, Change] = {
    SHIPPED: Change(),
    "as shipped, again": Change(),
    "pkt_buf 8192": Change({"pkt_buf": "8192"}),
    "pkt_buf 16384": Change({"pkt_buf": "16384"}),
    "pkt_buf 65536": Change({"pkt_buf": "65536"}),
    "sbuf_loopcnt 0": Change({"sbuf_loopcnt": "0"}),
    "sbuf_loopcnt 20": Change({"sbuf_loopcnt": "20"}),
    "max_client_conn 100000": Change({"max_client_conn": "100000"}),
    "tcp_defer_accept 0": Change({"tcp_defer_accept": "0"}),
    "tcp_socket_buffer 1048576": Change({"tcp_socket_buffer": "1048576"}),
    _BACKLOG: Change({"listen_backlog": "4096"}),
    "no log of connections": Change({"log_connections": "0", "log_disconnections": "0"}),
    "curve P-256 alone": Change({"client_tls_ecdhcurve": "prime256v1"}),
    # As openssl and most who set up TLS by hand leave it.
    "a leaf without its authority": Change(before="sed -i '/-END/q' /etc/pgbouncer/tls/server/*/tls.crt"),
    # OpenSSL's own default, and Debian's.
    "two session tickets": Change(before="unset OPENSSL_CONF"),
    "no hybrid key exchange": Change(before="echo 'Groups = X25519:P-256' >> /mnt/openssl.cnf"),
    "one processor": Change(before="taskset --cpu-list --pid 0 $$ >&2"),
    "libevent's list of changes": Change(before="export EVENT_EPOLL_USE_CHANGELIST=1"),
}


def run(fleet: Fleet) -> list[Figure]:
    sized = fleet.role({"pgbouncer_instances": 1, "pgbouncer_databases": [{"name": "app", "pool_size": 20}]}, HOST)
    if sized.status:
        raise SystemExit(f"the role failed:\n{sized.output[-3000:]}")
    server, address = (fleet.sh("db1", f"getent hosts {host}").split()[0] for host in ("db1", HOST))
    given = peers.Given(fleet, server, HOST, address, fleet.password)
    engines = [
        peers.engine(given, name, _PORT + number, change.settings, change.before)
        for number, (name, change) in enumerate(CHANGES.items())
    ]
    scene = Scene.of(fleet)
    with peers.running(given, engines) as ways:
        scene.fill(Way(server, 5432, ()))
        rounds = _rounds(scene, ways)
        figures = []
        for name, way in ways.items():
            for load, runs in rounds.items():
                value = ratio(runs[name], runs[SHIPPED], lambda run: run.each)
                figures.append(Figure(f"{name}: CPU, {load}", value, "times"))
            figures.append(Figure(f"{name}: an idle client", scene.idle(way, 300) / 300 * 1024, "KiB"))
        for name in (SHIPPED, _BACKLOG):
            # Refused for a full queue, a client tries again after a second.
            last = middle(scene.knocks(ways[name], _AT_ONCE) for _round in range(_STORMS))
            figures.append(Figure(f"{name}: {_AT_ONCE} clients at once, the last is answered", last, "s"))
    shipped = [(load, middle(run.each for run in runs[SHIPPED])) for load, runs in rounds.items()]
    return [*(Figure(f"{SHIPPED}: CPU, {load}", value, "us") for load, value in shipped), *figures]


def _rounds(scene: Scene, ways: Mapping[str, Way]) -> Mapping[str, Mapping[str, list[Run]]]:
    loads: Mapping[str, Callable[[Way], Run]] = {
        "a login": lambda way: scene.logins(way, 6),
        "a small answer": lambda way: scene.pgbench(
            way, "-S", "-M", "prepared", "-c", str(CLIENTS), "-j", "2", "-t", "500"
        ),
        "200 kB": lambda way: scene.pgbench(
            way, "-f", "-", "-c", str(_LARGE_CLIENTS), "-j", "2", "-t", "200", script=_LARGE
        ),
    }
    found: dict[str, dict[str, list[Run]]] = {load: {name: [] for name in ways} for load in loads}
    for way in ways.values():
        loads["a small answer"](way)
    for number in range(ROUNDS):
        # Nobody is always the one after the same other.
        order = list(ways) if number % 2 else list(ways)[::-1]
        logins = {name: loads["a login"](ways[name]) for name in order}
        for load, count in (("a small answer", CLIENTS), ("200 kB", _LARGE_CLIENTS)):
            for name in order:
                result, login = loads[load](ways[name]), logins[name]
                own = login.cpu * count / max(1, login.done)
                found[load][name].append(replace(result, cpu=result.cpu - own))
        for name in order:
            found["a login"][name].append(logins[name])
    return found
