"""PostgreSQL and poolers on a laptop or a small server: a Compose file, and the files that its containers read.

There is no systemd that hands out sockets: instances bind the one port by themselves (so_reuseport), in the network of
a container that does nothing else, so that any of them can be started anew. Whatever a container reads is copied into a
volume by a service of a moment, which gives each file its owner and mode, whoever owns it outside; and what is started
from other files is another container, so that `up` replaces just what has changed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

from .. import bundle, units
from ..agent.config import CONFIG, STATE
from ..bundle import CONFIGURATION, CURRENT, RUNTIME, Bundle
from ..certificates import LeafRequest, Usage
from ..files import File
from ..model import Pooler
from ..objects import Role
from ..prepare import Prepared
from ..server import Server
from .compose_model import POSTGRESQL, Project
from .compose_scripts import DATA, FILES, PREPARE, SETTINGS, SUPERUSER, copy, hba, start


def leaves(project: Project) -> dict[str, LeafRequest]:
    """The certificates, by the directory below FILES in which each lies in one named by its serial."""
    dns = tuple(name for name in project.names if not _is_address(name))
    addresses = tuple(name for name in project.names if _is_address(name))
    client: frozenset[Usage] = frozenset({"client"})
    server: frozenset[Usage] = frozenset({"server"})
    return {
        "pgbouncer/tls/server": LeafRequest("pooler", dns, addresses, server),
        "pgbouncer/tls/client": LeafRequest(project.pooler.certified_role, usages=client),
        "postgresql/tls": LeafRequest(POSTGRESQL, (POSTGRESQL,), usages=server),
        "prepare/tls": LeafRequest(SUPERUSER, usages=client),
    }


def build(project: Project, serials: Mapping[str, str], verifiers: Mapping[str, str]) -> Bundle:
    """The files of the instances. `serials` name the leaves, `verifiers` are those of the userlist in force."""
    tls = f"{CONFIGURATION}/tls"
    facts = bundle.Facts(
        leader=Server(POSTGRESQL),
        server_leaf=f"{tls}/server/{serials['pgbouncer/tls/server']}",
        client_leaf=f"{tls}/client/{serials['pgbouncer/tls/client']}",
        verifiers=verifiers,
    )
    return bundle.build(project.pooler, facts)


def files(project: Project, made: Bundle, serials: Mapping[str, str], roles: Iterable[Role]) -> tuple[File, ...]:
    """Everything below FILES but the leaves. Their owners are those in the containers."""
    assert made.agent is not None
    pooler, leaf = project.pooler, f"{PREPARE}/tls/{serials['prepare/tls']}"
    assert pooler.auth_query is not None
    prepared = Prepared(
        server=(
            f"host={POSTGRESQL} user={SUPERUSER} sslmode=verify-full sslrootcert={leaf}/ca.crt "
            f"sslcert={leaf}/tls.crt sslkey={leaf}/tls.key"
        ),
        roles=tuple(roles),
        databases=project.databases,
        role=project.logins.role,
        schema=project.logins.schema,
        function=project.logins.function,
        dbname=pooler.auth_query.dbname,
    )
    own = [
        File("postgresql/pg_hba.conf", hba(project.logins.role).encode()),
        File("postgresql/start.sh", start(project, serials["postgresql/tls"]).encode()),
        File("prepare/prepare.json", prepared.to_json().encode(), secret=True),
        File("copy.sh", copy(project, made.release).encode()),
    ]
    read = (*made.release_files, made.databases, made.agent)
    return (*(File(f"pgbouncer{file.path.removeprefix(CONFIGURATION)}", file.content) for file in read), *own)


def document(project: Project, made: Bundle, serials: Mapping[str, str]) -> dict[str, Any]:
    """What stands in compose.yml."""
    pooler = project.pooler
    assert pooler.agent is not None
    services: dict[str, Any] = {
        FILES: _small(pooler, "0:0")
        | {
            "network_mode": "none",
            "cap_add": ["CHOWN", "DAC_OVERRIDE", "FOWNER"],
            "entrypoint": ["sh", f"/{FILES}/copy.sh"],
            "volumes": [
                f"./{FILES}:/{FILES}:ro,z",
                f"pgbouncer:{CONFIGURATION}",
                f"sockets:{RUNTIME}",
                f"state:{STATE}",
                f"prepare:{PREPARE}",
                f"settings:{SETTINGS}",
                f"data:{DATA}",
            ],
        },
        POSTGRESQL: _postgresql_service(project, serials["postgresql/tls"]),
        "prepare": _small(pooler, _user(pooler))
        | {
            "entrypoint": ["pooler", "prepare", f"{PREPARE}/prepare.json"],
            "depends_on": _after(FILES),
            "volumes": [f"prepare:{PREPARE}:ro"],
        },
        # Whose network the instances share. It does nothing, so that nothing makes it start anew.
        "network": _small(pooler, _user(pooler))
        | {
            "entrypoint": ["sleep", "infinity"],
            "restart": "unless-stopped",
            "stop_signal": "SIGKILL",
            # Who waits at an instance that ends moves to the others.
            "sysctls": {"net.ipv4.tcp_migrate_req": "1"},
            "ports": [
                f"{_published(address)}:{port}:{port}"
                for address in project.publish
                for port in (pooler.port, pooler.agent.port)
            ],
        },
    }
    for console in pooler.consoles:
        services[f"pgbouncer-{console}"] = _instance(pooler, console, made)
    services["agent"] = _agent(pooler, made)
    volumes = ("pgbouncer", "sockets", "state", "prepare", "settings", "data")
    return {"services": services, "volumes": {name: {} for name in volumes}}


def _small(pooler: Pooler, user: str) -> dict[str, Any]:
    """What all containers of our image have in common."""
    return {
        "image": pooler.image,
        "user": user,
        "read_only": True,
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges"],
        "ulimits": {"core": 0},
    }


def _user(pooler: Pooler) -> str:
    return f"{pooler.uid}:{pooler.uid}"


def _after(*services: str) -> dict[str, Any]:
    """Those who copy have ended, the others have begun."""
    ended = "service_completed_successfully"
    return {name: {"condition": ended if name == FILES else "service_started"} for name in services}


def _instance(pooler: Pooler, console: int, made: Bundle) -> dict[str, Any]:
    limit = units.nofile(pooler)
    return _small(pooler, _user(pooler)) | {
        "container_name": f"pgbouncer-{console}",
        "entrypoint": ["pgbouncer", f"{CURRENT}/{console}.ini"],
        "network_mode": "service:network",
        "restart": "unless-stopped",
        # Ends after the running transactions; SIGTERM would wait for every client to leave.
        "stop_signal": "SIGINT",
        "stop_grace_period": f"{units.STOP_SECONDS}s",
        "ulimits": {"core": 0, "nofile": {"soft": limit, "hard": limit}},
        "mem_limit": f"{units.memory_max(pooler)}m",
        "labels": {units.LABEL: made.release},
        "depends_on": _after(FILES, "network"),
        "volumes": [f"pgbouncer:{CONFIGURATION}:ro", f"sockets:{RUNTIME}"],
    }


def _agent(pooler: Pooler, made: Bundle) -> dict[str, Any]:
    return _small(pooler, _user(pooler)) | {
        "container_name": "pgbouncer-agent",
        "entrypoint": ["pooler", "agent", CONFIG],
        "network_mode": "service:network",
        "restart": "unless-stopped",
        "mem_limit": "128m",
        "labels": {units.LABEL: made.agent_digest},
        "healthcheck": {
            "test": ["CMD", "python3", "-m", "pooler.agent.ask", "/ready"],
            "interval": "10s",
            "timeout": "5s",
            "retries": 3,
        },
        "depends_on": _after(FILES, "network"),
        "volumes": [
            f"pgbouncer:{CONFIGURATION}",
            f"sockets:{RUNTIME}:ro",
            f"state:{STATE}",
        ],
    }


def _postgresql_service(project: Project, serial: str) -> dict[str, Any]:
    postgresql = project.postgresql
    return {
        "image": postgresql.image,
        "user": f"{postgresql.uid}:{postgresql.uid}",
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges"],
        "entrypoint": ["sh", f"{SETTINGS}/start.sh"],
        "environment": {"PGDATA": DATA},
        "restart": "unless-stopped",
        # Sessions end, data are written: PostgreSQL's fast shutdown.
        "stop_signal": "SIGINT",
        "stop_grace_period": "60s",
        "shm_size": "256m",
        "labels": {units.LABEL: _digest(hba(project.logins.role), start(project, serial))},
        "depends_on": _after(FILES),
        "volumes": [f"settings:{SETTINGS}:ro", f"data:{DATA}"],
    }


def _published(address: str) -> str:
    return f"[{address}]" if ":" in address else address


def _is_address(name: str) -> bool:
    return ":" in name or name.replace(".", "").isdecimal()


def _digest(*texts: str) -> str:
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()[:16]
