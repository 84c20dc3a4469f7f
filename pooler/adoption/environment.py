"""Containers that are configured by variables: the files that the start scripts of their images write.

edoburu/pgbouncer takes the upper-cased names of settings, and DB_* or DATABASE_URL; bitnami/pgbouncer takes PGBOUNCER_*
and POSTGRESQL_*. What the scripts do was read in their sources of 2025.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from .. import settings, userlist
from ..errors import InvalidError, Problem
from .installation import Text

_EDOBURU = "/etc/pgbouncer"
_BITNAMI = "/opt/bitnami/pgbouncer"
_BITNAMI_NAMES = {
    "PGBOUNCER_PORT": "listen_port",
    "PGBOUNCER_LISTEN_ADDRESS": "listen_addr",
    "PGBOUNCER_SOCKET_DIR": "unix_socket_dir",
    "PGBOUNCER_SOCKET_MODE": "unix_socket_mode",
    "PGBOUNCER_SOCKET_GROUP": "unix_socket_group",
    "PGBOUNCER_LOG_FILE": "logfile",
}
_BITNAMI_DEFAULTS = {
    "listen_port": "6432",
    "listen_addr": "0.0.0.0",
    "unix_socket_dir": "/tmp/",
    "unix_socket_mode": "0777",
    "auth_type": "scram-sha-256",
    "ignore_startup_parameters": "extra_float_digits",
    "stats_period": "60",
    "server_fast_close": "0",
    "server_round_robin": "0",
    "client_tls_sslmode": "disable",
    "server_tls_sslmode": "disable",
}
_BITNAMI_DATABASE = frozenset({"PGBOUNCER_AUTH_USER", "PGBOUNCER_CONNECT_QUERY"})
_YES = frozenset({"yes", "true", "1"})
_URL = re.compile(
    r"(?:[a-z]+://)?(?:(?P<user>[^:@/]*)(?::(?P<password>[^@]*))?@)?(?P<host>[^:/]*)(?::(?P<port>\d+))?(?:/(?P<name>.*))?"
)


@dataclass(frozen=True)
class Written:
    """The files as a start script writes them; `unused` are variables that it takes no notice of."""

    main: Text
    users: Text = field(repr=False)
    unused: tuple[str, ...] = ()


def parse(text: str, name: str) -> dict[str, str]:
    """A file of `NAME=value` lines, as `podman run --env-file` takes it. Raises InvalidError."""
    found = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        key, equals, value = line.partition("=")
        if not equals or not re.fullmatch(r"\s*[A-Za-z_][A-Za-z0-9_.-]*", key):
            raise InvalidError([Problem(f"{name}:{number}", "is not NAME=value")])
        found[key.strip()] = value
    return found


def written(variables: Mapping[str, str], name: str) -> Written:
    """The files that the variables stand for. Raises InvalidError when the image would not start with them."""
    if any(key.startswith(("PGBOUNCER_", "POSTGRESQL_")) for key in variables):
        return _bitnami(variables, name)
    return _edoburu(variables, name)


def _edoburu(variables: Mapping[str, str], name: str) -> Written:
    databases, secrets, used = _edoburu_databases(variables, name)
    given = {key: text for key, text in _by_setting(variables) if key != "user"}
    own = {
        "listen_addr": "0.0.0.0",
        "listen_port": "5432",
        "unix_socket_dir": "",
        "auth_file": f"{_EDOBURU}/userlist.txt",
        "auth_type": "md5",
        "ignore_startup_parameters": "extra_float_digits",
        "admin_users": "postgres",
    }
    for seat in ("ADMIN", "STATS"):
        names = variables.get(f"{seat}_USERS", "postgres" if seat == "ADMIN" else "").split(",")
        passwords = variables.get(f"{seat}_PASSWORDS", "").split(",")
        if len(names) == len(passwords):
            secrets |= {user: secret for user, secret in zip(names, passwords, strict=True) if user and secret}
        used |= {f"{seat}_USERS", f"{seat}_PASSWORDS"}
    used |= {key.upper() for key in given}
    return _files(name, own | {"user": "postgres"} | given, databases, secrets, "", _left(variables, used))


def _edoburu_databases(variables: Mapping[str, str], name: str) -> tuple[dict[str, str], dict[str, str], set[str]]:
    """Entries of [databases], secrets by user, and the variables that said so."""
    urls = [url for url in variables.get("DATABASE_URLS", variables.get("DATABASE_URL", "")).split(",") if url]
    given = [_URL.fullmatch(url) for url in urls]
    if None in given:
        raise InvalidError([Problem(f"{name}:DATABASE_URL", "is not postgres://USER:PASSWORD@HOST:PORT/NAME")])
    databases, secrets = {}, {}
    port = variables.get("DB_PORT", "5432")
    for found in [each.groupdict() for each in given if each] or [
        {"host": variables.get("DB_HOST"), "name": variables.get("DB_NAME")}
    ]:
        if not found["host"]:
            raise InvalidError([Problem(f"{name}:DB_HOST", "is missing, and the container does not start without it")])
        # A URL without a port has the one before it: the script keeps its variables.
        port = found.get("port") or port
        user = found.get("user") or variables.get("DB_USER", "")
        password = found.get("password") or variables.get("DB_PASSWORD", "")
        databases[found["name"] or "*"] = f"host={found['host']} port={port} auth_user={user or 'postgres'}"
        if user and password:
            secrets[user] = password
    used = {"DATABASE_URL", "DATABASE_URLS", "DB_HOST", "DB_PORT", "DB_NAME", "DB_USER", "DB_PASSWORD"}
    return databases, secrets, used


def _bitnami(variables: Mapping[str, str], name: str) -> Written:
    user = variables.get("POSTGRESQL_USERNAME") or "postgres"
    password = variables.get("POSTGRESQL_PASSWORD", "")
    alias = variables.get("PGBOUNCER_DATABASE") or "postgres"
    entry = f"host={variables.get('POSTGRESQL_HOST') or 'postgresql'} port={variables.get('POSTGRESQL_PORT') or '5432'}"
    if variables.get("PGBOUNCER_SET_DATABASE_USER", "").lower() in _YES:
        entry += f" user={user}"
    if variables.get("PGBOUNCER_SET_DATABASE_PASSWORD", "").lower() in _YES:
        entry += f" password={password}"
    if alias != "*":
        entry += f" dbname={variables.get('POSTGRESQL_DATABASE') or alias}"
    if variables.get("PGBOUNCER_AUTH_USER"):
        entry += f" auth_user={variables['PGBOUNCER_AUTH_USER']}"
    if variables.get("PGBOUNCER_CONNECT_QUERY"):
        entry += f" connect_query='{variables['PGBOUNCER_CONNECT_QUERY']}'"
    databases = {alias: entry}
    number = 0
    while dsn := variables.get(f"PGBOUNCER_DSN_{number}", ""):
        key, _equals, text = dsn.partition("=")
        databases[key.strip()] = text
        number += 1
    given = {
        _BITNAMI_NAMES.get(key, key.removeprefix("PGBOUNCER_").lower()): text
        for key, text in variables.items()
        if text and key.startswith("PGBOUNCER_") and key not in _BITNAMI_DATABASE
    }
    known = {key: text for key, text in given.items() if key in settings.known("pgbouncer")}
    own = _BITNAMI_DEFAULTS | {"auth_file": f"{_BITNAMI}/conf/userlist.txt", "admin_users": user}
    used = {key for key in variables if key.startswith("POSTGRESQL_")} | _BITNAMI_DATABASE
    used |= {f"PGBOUNCER_{key.upper()}" for key in known} | set(_BITNAMI_NAMES)
    used |= {f"PGBOUNCER_{key}" for key in ("DATABASE", "USERLIST", "SET_DATABASE_USER", "SET_DATABASE_PASSWORD")}
    used |= {f"PGBOUNCER_DSN_{each}" for each in range(number)}
    more = variables.get("PGBOUNCER_USERLIST", "")
    return _files(name, own | known, databases, {user: password}, more, _left(variables, used))


def _by_setting(variables: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    known = settings.known("pgbouncer")
    for key, text in variables.items():
        if text and key == key.upper() and key.lower() in known:
            yield key.lower(), text


def _left(variables: Mapping[str, str], used: set[str]) -> tuple[str, ...]:
    return tuple(sorted(key for key, text in variables.items() if text and key not in used))


def _files(
    name: str,
    given: Mapping[str, str],
    databases: Mapping[str, str],
    secrets: Mapping[str, str],
    more: str,
    unused: tuple[str, ...],
) -> Written:
    lines = ["[databases]", *(f"{key} = {entry}" for key, entry in databases.items())]
    lines += ["[pgbouncer]", *(f"{key} = {text}" for key, text in given.items())]
    users = userlist.render(secrets) + more
    return Written(Text(name, "\n".join(lines) + "\n"), Text(f"{name} (userlist)", users), unused)
