"""Where the pool is, as people write it: a connection string of libpq, in either notation, without its password."""

from __future__ import annotations

import getpass
import os
import shlex
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

from ..errors import InvalidError, PoolerError, Problem, nearest


@dataclass(frozen=True)
class Target:
    """`host` may name several, with commas between. `ca` is a file, or empty for the system's authorities."""

    host: str
    port: int
    user: str
    database: str
    ca: str = ""


_NAMES = {"host": "host", "port": "port", "user": "user", "dbname": "database", "sslrootcert": "ca"}
_NEEDED = ("host", "user", "dbname")
_PLACE = "connection string"


def parse(text: str) -> Target:
    """Raises InvalidError for what is missing, unknown, or would weaken what the drill promises."""
    given = _uri(text) if "://" in text else _words(text)
    problems = [Problem(_PLACE, f"{name} is missing", f"such as {_EXAMPLE}") for name in _NEEDED if not given.get(name)]
    if "password" in given:
        problems.append(
            Problem(_PLACE, "holds a password, for all this machine to see", "leave it out: it is asked for")
        )
    if (mode := given.get("sslmode", "verify-full")) != "verify-full":
        problems.append(Problem(_PLACE, f"sslmode={mode} is not what clients should use", "verify-full"))
    known = (*_NAMES, "password", "sslmode")
    problems += [
        Problem(_PLACE, f"{name} is not known here", nearest(name, known)) for name in given if name not in known
    ]
    port = given.get("port", "6432")
    if not port.isdecimal() or not 0 < int(port) < 65536:
        problems.append(Problem(_PLACE, f"port={port} is not a port", "1 to 65535"))
    if problems:
        raise InvalidError(problems)
    ca = given.get("sslrootcert", "")
    return Target(given["host"], int(port), given["user"], given["dbname"], "" if ca == "system" else ca)


def password(file: str) -> str:
    """Of the file its first line; else of the environment, else asked for without an echo; never of the arguments."""
    if file:
        return Path(file).read_text(encoding="utf-8").partition("\n")[0]
    if password := os.environ.get("PGPASSWORD"):
        return password
    if sys.stdin.isatty():
        return getpass.getpass()
    raise PoolerError("no password: give --password-file, or PGPASSWORD in the environment")


_EXAMPLE = '"host=pool1 dbname=app user=app sslrootcert=ca.crt"'


def _words(text: str) -> Mapping[str, str]:
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise InvalidError([Problem(_PLACE, str(error), _EXAMPLE)]) from None
    if wrong := next((word for word in words if "=" not in word), None):
        raise InvalidError([Problem(_PLACE, f"{wrong!r} is not NAME=VALUE", _EXAMPLE)])
    return dict(word.split("=", 1) for word in words)


def _uri(text: str) -> Mapping[str, str]:
    """postgresql://user@host1:port,host2:port/dbname?sslrootcert=...; the port must be the same everywhere."""
    parts = urlsplit(text)
    if parts.scheme not in ("postgresql", "postgres"):
        raise InvalidError([Problem(_PLACE, f"{parts.scheme}:// is not postgresql://", _EXAMPLE)])
    who, _at, where = parts.netloc.rpartition("@")
    user, colon, _password = who.partition(":")
    pairs = [each.partition(":") for each in where.split(",")]
    ports = {port for _host, _colon, port in pairs if port}
    if len(ports) > 1:
        raise InvalidError([Problem(_PLACE, "hosts have different ports", "clients of a drill use one port")])
    found = {
        "host": ",".join(host for host, _colon, _port in pairs),
        **({"port": ports.pop()} if ports else {}),
        "user": unquote(user),
        "dbname": unquote(parts.path.lstrip("/")),
        **({"password": ""} if colon else {}),
        **dict(parse_qsl(parts.query)),
    }
    return {name: value for name, value in found.items() if value or name == "password"}
