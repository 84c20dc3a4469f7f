"""What systemd and podman need to run the instances: quadlet template, socket template, directories, sysctl."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable

from . import capacity
from .agent.config import CONFIG, HOSTS_DIRECTORY, LOGINS, STATE
from .files import File
from .model import Pooler

CONTAINER = "/etc/containers/systemd/pgbouncer@.container"
AGENT = "/etc/containers/systemd/pgbouncer-agent.container"
SOCKET = "/etc/systemd/system/pgbouncer@.socket"
LOGINS_SOCKET = "/etc/systemd/system/pgbouncer-logins.socket"
LOGINS_SERVICE = "/etc/systemd/system/pgbouncer-logins@.service"
UNITS = (CONTAINER, AGENT, LOGINS_SOCKET, LOGINS_SERVICE, SOCKET)
TMPFILES = "/etc/tmpfiles.d/pgbouncer.conf"
SYSCTL = "/etc/sysctl.d/90-pgbouncer.conf"
LABEL = "pgfleet.unit"
"""The container's label that says from which unit text it was started."""

WATCHING = (
    " LOG C-[^ ]+ [^ ]+/pgbouncer@unix:[^ ]+ "
    "(pgbouncer access from unix socket|login attempt: .*|closing because: client close request .*)$"
)
"""What the engine says of each question of the agent (1.18 to 1.25): several lines a second, in which nobody finds a
client. A process in the same container has its pid there as well (`@unix(7):`), so operators are still heard."""

STOP_SECONDS = 30
"""How long a stopping instance may finish transactions before podman kills it."""


def render(pooler: Pooler, agent: File | None) -> tuple[File, ...]:
    """`agent` is the agent's configuration; without one there is no agent."""
    files = [
        File(CONTAINER, _container(pooler).encode()),
        File(TMPFILES, _tmpfiles(pooler).encode()),
        File(SYSCTL, _SYSCTL.encode()),
    ]
    if pooler.dispatch == "socket":
        files.append(File(SOCKET, _socket(pooler).encode()))
    if agent:
        files.append(File(AGENT, _agent(pooler, agent_digest(pooler, agent)).encode()))
        files.append(File(LOGINS_SOCKET, _logins_socket(pooler).encode()))
        files.append(File(LOGINS_SERVICE, _LOGINS_SERVICE.encode()))
    return tuple(files)


def digest(pooler: Pooler) -> str:
    """Changes exactly when a running instance must be restarted to be what its unit says."""
    return digest_of([_container_text(pooler, ""), *([_socket(pooler)] if pooler.dispatch == "socket" else [])])


def digest_of(texts: Iterable[str]) -> str:
    """What a unit file and its socket are named by in its label; the label itself does not count."""
    label = re.compile(rf"^(Label={re.escape(LABEL)}=).*$", re.MULTILINE)
    return hashlib.sha256("".join(label.sub(r"\1", text) for text in texts).encode()).hexdigest()[:16]


def agent_digest(pooler: Pooler, agent: File | None) -> str:
    """Changes exactly when a running agent must be restarted; empty when there is to be none."""
    if agent is None:
        return ""
    texts = _agent(pooler, ""), _logins_socket(pooler), _LOGINS_SERVICE
    return hashlib.sha256("".join(texts).encode() + agent.content).hexdigest()[:16]


def nofile(pooler: Pooler) -> int:
    """Descriptors of one instance, for all clients of the host.

    So another number of instances is no other unit and restarts nobody.
    """
    return pooler.nofile or capacity.nofile(_clients(pooler))


def memory_max(pooler: Pooler) -> int:
    """MiB of an instance with all clients of the host."""
    return capacity.memory(_clients(pooler))


def _clients(pooler: Pooler) -> int:
    return int(pooler.settings.get("max_client_conn", "2000"))


def _container(pooler: Pooler) -> str:
    return _container_text(pooler, digest(pooler))


def _container_text(pooler: Pooler, unit_digest: str) -> str:
    by_socket = pooler.dispatch == "socket"
    unit = "Wants=network-online.target\nAfter=network-online.target\n"
    service = ""
    if by_socket:
        # Not Requires=: stopping the socket, which sends new clients elsewhere, must not stop the instance.
        unit = "Wants=network-online.target pgbouncer@%i.socket\nAfter=network-online.target pgbouncer@%i.socket\n"
        service = "Sockets=pgbouncer@%i.socket\n"
    return (
        "[Unit]\n"
        "Description=PgBouncer, instance %i\n"
        f"{unit}"
        "StartLimitIntervalSec=0\n"
        "\n[Container]\n"
        "ContainerName=pgbouncer-%i\n"
        f"Image={pooler.image}\n"
        "Pull=never\n"
        "Entrypoint=pgbouncer\n"
        "Exec=/etc/pgbouncer/current/%i.ini\n"
        f"User={pooler.uid}\n"
        f"Group={pooler.uid}\n"
        "Network=host\n"
        "Volume=/etc/pgbouncer:/etc/pgbouncer:ro,z\n"
        # An engine that ends removes its unix socket, also one that systemd still holds: not when it cannot.
        f"Volume=/run/pgbouncer:/run/pgbouncer:{'ro,z' if by_socket else 'z'}\n"
        "ReadOnly=true\n"
        "ReadOnlyTmpfs=false\n"
        "DropCapability=all\n"
        "NoNewPrivileges=true\n"
        f"Notify={'true' if by_socket else 'false'}\n"
        "LogDriver=passthrough\n"
        f"Ulimit=nofile={nofile(pooler)}:{nofile(pooler)}\n"
        "Ulimit=core=0:0\n"
        # SIGINT ends after the running transactions; SIGTERM would wait for every client to leave.
        "PodmanArgs=--stop-signal=SIGINT\n"
        f"StopTimeout={STOP_SECONDS}\n"
        f"Label={LABEL}={unit_digest}\n"
        "\n[Service]\n"
        f"{service}"
        "Restart=always\n"
        "RestartSec=500ms\n"
        f"TimeoutStopSec={STOP_SECONDS + 15}\n"
        f"LimitNOFILE={nofile(pooler)}\n"
        "LimitCORE=0\n"
        f"MemoryMax={memory_max(pooler)}M\n"
        # systemd 253 and later; others say once that they do not know it.
        f"LogFilterPatterns=~{WATCHING}\n"
        "\n[Install]\n"
        "WantedBy=multi-user.target\n"
    )


def _agent(pooler: Pooler, unit_digest: str) -> str:
    return (
        "[Unit]\n"
        "Description=Agent of the PgBouncer instances\n"
        "Wants=network-online.target pgbouncer-logins.socket\n"
        "After=network-online.target pgbouncer-logins.socket\n"
        "StartLimitIntervalSec=0\n"
        "\n[Container]\n"
        "ContainerName=pgbouncer-agent\n"
        f"Image={pooler.image}\n"
        "Pull=never\n"
        "Entrypoint=pooler\n"
        f"Exec=agent {CONFIG}\n"
        f"User={pooler.uid}\n"
        f"Group={pooler.uid}\n"
        "Network=host\n"
        "Volume=/etc/pgbouncer:/etc/pgbouncer:ro,z\n"
        f"Volume={HOSTS_DIRECTORY}:{HOSTS_DIRECTORY}:z\n"
        "Volume=/run/pgbouncer:/run/pgbouncer:ro,z\n"
        f"Volume={STATE}:{STATE}:z\n"
        "ReadOnly=true\n"
        "ReadOnlyTmpfs=false\n"
        "DropCapability=all\n"
        "NoNewPrivileges=true\n"
        "Notify=true\n"
        "LogDriver=passthrough\n"
        "Ulimit=core=0:0\n"
        "StopTimeout=10\n"
        f"Label={LABEL}={unit_digest}\n"
        "\n[Service]\n"
        "Restart=always\n"
        "RestartSec=500ms\n"
        "TimeoutStopSec=20\n"
        "LimitCORE=0\n"
        # It has to be quick when the host is at its limit: before each millisecond of a loss more clients are hit.
        "CPUWeight=1000\n"
        "Nice=-10\n"
        "MemoryMax=128M\n"
        "\n[Install]\n"
        "WantedBy=multi-user.target\n"
    )


def _socket(pooler: Pooler) -> str:
    listen = "".join(f"ListenStream={_address(address, pooler.port)}\n" for address in pooler.listen)
    return (
        "[Unit]\n"
        "Description=PgBouncer's ports, instance %i\n"
        "\n[Socket]\n"
        f"{listen}"
        "ListenStream=127.0.0.1:%i\n"
        f"ListenStream=/run/pgbouncer/%i/.s.PGSQL.{pooler.port}\n"
        "ReusePort=true\n"
        "FreeBind=true\n"
        "Backlog=4096\n"
        "SocketMode=0600\n"
        # SocketUser= would need a user of that name on the host.
        f"ExecStartPost=/usr/bin/chown {pooler.uid}:{pooler.uid} /run/pgbouncer/%i/.s.PGSQL.{pooler.port}\n"
        "RemoveOnStop=true\n"
        "\n[Install]\n"
        "WantedBy=sockets.target\n"
    )


def _logins_socket(pooler: Pooler) -> str:
    """Comes and goes with the agent."""
    return (
        "[Unit]\n"
        "Description=Logins that PgBouncer has refused, for the agent\n"
        "PartOf=pgbouncer-agent.service\n"
        "\n[Socket]\n"
        f"ListenStream={LOGINS}\n"
        "SocketMode=0600\n"
        f"ExecStartPost=/usr/bin/chown {pooler.uid}:{pooler.uid} {LOGINS}\n"
        "Accept=yes\n"
        # One that is about to notice that its agent is gone, and the next one.
        "MaxConnections=2\n"
        "RemoveOnStop=true\n"
    )


def _address(address: str, port: int) -> str:
    if address == "*":
        return str(port)
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def _tmpfiles(pooler: Pooler) -> str:
    lines = [f"d /run/pgbouncer 0755 {pooler.uid} {pooler.uid}"]
    lines += [f"d /run/pgbouncer/{console} 0755 {pooler.uid} {pooler.uid}" for console in pooler.consoles]
    if pooler.agent:
        # The agent changes the hosts file by a rename, so the directory is its own.
        lines += [f"d {path} 0755 {pooler.uid} {pooler.uid}" for path in (STATE, HOSTS_DIRECTORY)]
    return "".join(f"{line}\n" for line in lines)


# The agent need not read the journal of the whole host: it is told these lines and no others, by somebody who may read
# the journal and do nothing else. Instances write as ever; who is slow here keeps nobody waiting but himself.
_LOGINS_SERVICE = (
    "[Unit]\n"
    "Description=Logins that PgBouncer has refused, from the journal to the agent\n"
    "CollectMode=inactive-or-failed\n"
    "\n[Service]\n"
    "ExecStart=/usr/bin/journalctl --quiet --follow --lines=0 --output=json --output-fields=MESSAGE,_SYSTEMD_UNIT"
    ' --case-sensitive "--grep=WARNING C-.* pooler error: " _SYSTEMD_SLICE=system-pgbouncer.slice\n'
    "StandardInput=null\n"
    "StandardOutput=socket\n"
    "StandardError=journal\n"
    "DynamicUser=true\n"
    "SupplementaryGroups=systemd-journal\n"
    "PrivateNetwork=true\n"
    "CapabilityBoundingSet=\n"
    "CPUWeight=20\n"
    "MemoryMax=64M\n"
    # When the agent has gone.
    "SuccessExitStatus=1\n"
    "LimitCORE=0\n"
)

_SYSCTL = (
    "# Connections that wait at an instance which stops listening move to the others instead of being reset.\n"
    "net.ipv4.tcp_migrate_req = 1\n"
)
