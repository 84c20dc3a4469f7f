"""PostgreSQL and poolers on a laptop or a small server: a Compose file, and the files that its containers read.

There is no systemd that hands out sockets: instances bind the one port by themselves (so_reuseport), in the network of
a container that does nothing else, so that any of them can be started anew. Whatever a container reads is copied into a
volume by a service of a moment, which gives each file its owner and mode, whoever owns it outside; and what is started
from other files is another container, so that `up` replaces just what has changed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from .. import __version__, bundle, units, variables
from ..agent.config import CONFIG, STATE
from ..auth_query import AuthQuery
from ..bundle import CONFIGURATION, CURRENT, RELEASES, RUNTIME, Bundle
from ..certificates import LeafRequest, Usage
from ..errors import InvalidError, PoolerError, Problem, nearest
from ..files import File
from ..model import Pooler
from ..objects import DatabaseObject, Role
from ..prepare import Prepared
from ..server import Server

POSTGRESQL = "postgresql"
"""The service of PostgreSQL, and so its name in the network."""

SUPERUSER = "postgres"
PREPARE = "/etc/prepare"
FILES = "files"
"""Below the project's directory; a directory in it for each of those who read."""

_DATA = "/var/lib/postgresql/data"
_SETTINGS = "/etc/postgresql"
_OPTIONS = ("databases", "users", "names", "publish", "postgresql", "pgbouncer")
_OURS = {
    "databases": "databases beside pgbouncer",
    "server": "the service postgresql",
    "server_port": "the service postgresql",
    "patroni": "the service postgresql",
    "dispatch": "nothing: no systemd hands out sockets",
    "tls_directory": "the project's directory",
    "userlist_only": "users",
    "state": "podman-compose up and down",
    "verifiers": "users",
}


@dataclass(frozen=True)
class User:
    """A login role. Without a `secret`, which is a password or a verifier, a password is drawn for it."""

    name: str
    secret: str = field(default="", repr=False)


@dataclass(frozen=True)
class PostgreSQL:
    """`uid` is that of the user `postgres` in the image; `settings` are PostgreSQL's."""

    image: str = "docker.io/library/postgres:17"
    uid: int = 999
    settings: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Project:
    """`names` are names and addresses by which clients find the pooler, `publish` the host's addresses it is at."""

    pooler: Pooler
    logins: AuthQuery
    databases: tuple[DatabaseObject, ...]
    users: tuple[User, ...]
    names: tuple[str, ...]
    publish: tuple[str, ...]
    postgresql: PostgreSQL


def read(given: Mapping[str, Any]) -> Project:
    """Raises InvalidError with every problem."""
    problems = [Problem(name, "is not known", nearest(name, _OPTIONS)) for name in given if name not in _OPTIONS]
    options = dict(given.get("pgbouncer") or {})
    problems += [
        Problem(f"pgbouncer.{name}", "follows from something else", f"see {owner}")
        for name, owner in _OURS.items()
        if name in options
    ]
    users, found = _users(given.get("users") or ())
    problems += found
    entries = [entry if isinstance(entry, Mapping) else {"name": entry} for entry in given.get("databases") or ()]
    databases, found = _databases(entries, users)
    problems += found
    postgresql, found = _postgresql(given.get("postgresql") or {})
    problems += found
    if problems:
        raise InvalidError(problems)
    capacity = {"max_connections": postgresql.settings.get("max_connections", "100"), **(options.get("capacity") or {})}
    pooler = variables.read(
        {"image": f"localhost/pgfleet/pooler:{__version__}", **options}
        | {
            "databases": [{key: value for key, value in entry.items() if key != "owner"} for entry in entries],
            "dispatch": "engine",
            "server": POSTGRESQL,
            "capacity": capacity,
        }
    )
    if pooler.passwords or pooler.agent is None:
        what, remedy = "log in with certificates, and the agent is a service", "leave its password and enabled out"
        raise InvalidError([Problem("pgbouncer.auth_query" if pooler.passwords else "pgbouncer.agent", what, remedy)])
    own = options.get("auth_query") or {}
    return Project(
        pooler=pooler,
        logins=AuthQuery(
            role=str(own.get("role") or AuthQuery.role),
            schema=str(own.get("schema") or AuthQuery.schema),
            function=str(own.get("function") or AuthQuery.function),
        ),
        databases=databases,
        users=users,
        names=tuple(str(name) for name in given.get("names") or ("localhost", "127.0.0.1", "::1")),
        publish=tuple(str(address) for address in given.get("publish") or ("127.0.0.1",)),
        postgresql=postgresql,
    )


def leaves(project: Project) -> dict[str, LeafRequest]:
    """The certificates, by the directory below FILES in which each lies in one named by its serial."""
    assert project.pooler.agent is not None
    role = project.pooler.agent.role
    dns = tuple(name for name in project.names if not _is_address(name))
    addresses = tuple(name for name in project.names if _is_address(name))
    client: frozenset[Usage] = frozenset({"client"})
    server: frozenset[Usage] = frozenset({"server"})
    return {
        "pgbouncer/tls/server": LeafRequest("pooler", dns, addresses, server),
        "pgbouncer/tls/client": LeafRequest(role, usages=client),
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
        File("postgresql/pg_hba.conf", _hba(project.logins.role).encode()),
        File("postgresql/start.sh", _start(project, serials["postgresql/tls"]).encode()),
        File("prepare/prepare.json", prepared.to_json().encode(), secret=True),
        File("copy.sh", _copy(project, made).encode()),
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
                f"settings:{_SETTINGS}",
                f"data:{_DATA}",
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


def _users(given: Iterable[Any]) -> tuple[tuple[User, ...], list[Problem]]:
    users, problems = [], []
    for number, entry in enumerate(given):
        entry = entry if isinstance(entry, Mapping) else {"name": entry}
        place = f"users[{number}]"
        problems += [
            Problem(
                f"{place}.{key}",
                "is not known",
                "name, password or verifier; settings of the engine go below pgbouncer",
            )
            for key in entry
            if key not in ("name", "password", "verifier")
        ]
        try:
            secret = str(entry.get("password") or entry.get("verifier") or "")
            users.append(User(Role(str(entry.get("name") or "")).name, secret))
        except PoolerError as error:
            problems.append(Problem(f"{place}.name", str(error)))
    return tuple(users), problems


def _databases(
    entries: Iterable[Mapping[str, Any]], users: Iterable[User]
) -> tuple[tuple[DatabaseObject, ...], list[Problem]]:
    """`owner` may be left out where a user has the database's name, or there is one user only."""
    names, found, problems = [user.name for user in users], [], []
    for number, entry in enumerate(entries):
        name = str(entry.get("name") or "")
        owner = entry.get("owner") or (name if name in names else names[0] if len(names) == 1 else None)
        if owner is None:
            problems.append(Problem(f"databases[{number}].owner", "is missing", "the user to whom it belongs"))
        elif owner not in names:
            problems.append(
                Problem(f"databases[{number}].owner", f"{owner!r} is none of users", nearest(str(owner), names))
            )
        else:
            try:
                found.append(DatabaseObject(name, str(owner)))
            except PoolerError as error:
                problems.append(Problem(f"databases[{number}].name", str(error)))
    return tuple(found), problems


def _postgresql(given: Mapping[str, Any]) -> tuple[PostgreSQL, list[Problem]]:
    known = ("image", "uid", "settings")
    problems = [
        Problem(f"postgresql.{name}", "is not known", nearest(name, known)) for name in given if name not in known
    ]
    settings = {str(name): str(value) for name, value in (given.get("settings") or {}).items()}
    problems += [
        Problem(f"postgresql.settings.{name}", "is no name of a setting")
        for name in settings
        if not name.replace("_", "").replace(".", "").isalnum()
    ]
    uid = given.get("uid", PostgreSQL.uid)
    if isinstance(uid, bool) or not str(uid).isdecimal() or int(str(uid)) < 1:
        problems.append(Problem("postgresql.uid", f"{uid!r} is no id of a user other than root"))
        uid = PostgreSQL.uid
    return PostgreSQL(str(given.get("image") or PostgreSQL.image), int(str(uid)), settings), problems


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
        "entrypoint": ["sh", f"{_SETTINGS}/start.sh"],
        "environment": {"PGDATA": _DATA},
        "restart": "unless-stopped",
        # Sessions end, data are written: PostgreSQL's fast shutdown.
        "stop_signal": "SIGINT",
        "stop_grace_period": "60s",
        "shm_size": "256m",
        "labels": {units.LABEL: _digest(_hba(project.logins.role), _start(project, serial))},
        "depends_on": _after(FILES),
        "volumes": [f"settings:{_SETTINGS}:ro", f"data:{_DATA}"],
    }


def _hba(role: str) -> str:
    """The superuser and our role by certificate, all others by password, nobody without TLS."""
    return (
        f"local all {SUPERUSER} peer\n"
        f"hostssl all {SUPERUSER},{role} all cert\n"
        f"host all {SUPERUSER},{role} all reject\n"
        "hostssl all all all scram-sha-256\n"
    )


def _start(project: Project, serial: str) -> str:
    leaf = f"{_SETTINGS}/tls/{serial}"
    settings = {
        "listen_addresses": "*",
        "unix_socket_directories": "/tmp",
        "hba_file": f"{_SETTINGS}/pg_hba.conf",
        "ssl": "on",
        "ssl_cert_file": f"{leaf}/tls.crt",
        "ssl_key_file": f"{leaf}/tls.key",
        "ssl_ca_file": f"{leaf}/ca.crt",
        "ssl_min_protocol_version": "TLSv1.2",
        "password_encryption": "scram-sha-256",
        **project.postgresql.settings,
    }
    options = "".join(f" \\\n  -c {name}={_word(value)}" for name, value in settings.items())
    return (
        "# PostgreSQL, with a cluster of its own making the first time.\n"
        "set -eu\n"
        'if [ ! -s "$PGDATA/PG_VERSION" ]; then\n'
        f"  initdb --username={SUPERUSER} --auth=reject --encoding=UTF8 --data-checksums\n"
        "fi\n"
        f"exec postgres{options}\n"
    )


def _word(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


def _copy(project: Project, made: Bundle) -> str:
    """Idempotent. What is no longer needed goes last; the switch is one rename, as on a host."""
    ours, theirs = _user(project.pooler), f"{project.postgresql.uid}:{project.postgresql.uid}"
    sockets = " ".join(f"{RUNTIME}/{console}" for console in project.pooler.consoles)
    return (
        "# Each file to its volume, with the owner and the mode that its readers ask for. It may run while they read.\n"
        "set -eu\n"
        "umask 077\n"
        "copy() {  # directory, place, owner\n"
        f'  (cd "/{FILES}/$1" && find . -type d) | while read -r name; do\n'
        '    mkdir -p "$2/$name"; chown "$3" "$2/$name"\n'
        "  done\n"
        f'  (cd "/{FILES}/$1" && find . -type f) | while read -r name; do\n'
        f'    cmp -s "/{FILES}/$1/$name" "$2/$name" && continue\n'
        f'    cp "/{FILES}/$1/$name" "$2/$name.new"\n'
        '    chmod 0600 "$2/$name.new"\n'
        '    chown "$3" "$2/$name.new"\n'
        '    mv "$2/$name.new" "$2/$name"\n'
        "  done\n"
        "}\n"
        "forget() {  # directory, place: releases and certificates that are gone from there\n"
        '  for old in "$2"/tls/* "$2"/tls/*/* "$2"/releases/*; do\n'
        f'    [ -e "/{FILES}/$1${{old#"$2"}}" ] || rm -rf "$old"\n'
        "  done\n"
        "}\n"
        f"copy pgbouncer {CONFIGURATION} {ours}\n"
        f"copy prepare {PREPARE} {ours}\n"
        f"copy postgresql {_SETTINGS} {theirs}\n"
        f"ln -sfn {RELEASES.rpartition('/')[2]}/{made.release} {CURRENT}.new\n"
        f"mv -T {CURRENT}.new {CURRENT}\n"
        f"forget pgbouncer {CONFIGURATION}\n"
        f"forget prepare {PREPARE}\n"
        f"forget postgresql {_SETTINGS}\n"
        f"mkdir -p {sockets}\n"
        f"chown {ours} {RUNTIME} {sockets} {STATE}\n"
        f"chmod 0700 {RUNTIME} {sockets} {STATE} {_DATA}\n"
        f"chown {theirs} {_DATA}\n"
    )


def _published(address: str) -> str:
    return f"[{address}]" if ":" in address else address


def _is_address(name: str) -> bool:
    return ":" in name or name.replace(".", "").isdecimal()


def _digest(*texts: str) -> str:
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()[:16]
