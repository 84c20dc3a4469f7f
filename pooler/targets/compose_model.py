"""What a Compose project is made from: databases and users of the poolers and of PostgreSQL, each said once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from .. import __version__, variables
from ..auth_query import AuthQuery
from ..errors import InvalidError, PoolerError, Problem, nearest
from ..model import Pooler
from ..objects import DatabaseObject, Role

POSTGRESQL = "postgresql"
"""The service of PostgreSQL, and so its name in the network."""

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
