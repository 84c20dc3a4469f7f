"""Pooler hosts that are only answers: what a converged one would print when it is read, without a host.

The action of the module `pgbouncer` runs against it as against a real one, all but the connection.
"""

from __future__ import annotations

import base64
import csv
import io
import re
import secrets
from collections.abc import Mapping
from typing import Any

from pooler import bundle, files, ini, scram, settings, variables
from pooler.bundle import Bundle, Facts
from pooler.model import Pooler
from pooler.server import Server

Options = Mapping[str, Any]

IMAGE = "f" * 64
LEADER = Server("10.0.0.1")
LEAVES = ("/etc/pgbouncer/tls/server/01", "/etc/pgbouncer/tls/client/01")
_DEFAULTS = {name: settings.get("pgbouncer", name).default or "" for name in settings.known("pgbouncer")}
_MARK = re.compile(rb"'(@[0-9a-f]{16})'")


def fleet(databases: int, users: int, rules: int, *, passwords: int = 0) -> dict[str, Any]:
    """The options of a host. So many of its users have passwords, the others verifiers."""
    return {
        "image": "localhost/pgfleet/pooler:0.1.0",
        "patroni": ["https://10.0.0.1:8008"],
        "databases": [{"name": f"app{number:05}", "pool_size": 5} for number in range(databases)],
        "users": [
            {
                "name": f"user{number:05}",
                **({"password": secrets.token_hex(12)} if number < passwords else {"verifier": scram.nobodys()}),
            }
            for number in range(users)
        ],
        "hba": [
            f"hostssl app{number:05} all 10.{number >> 8}.{number & 255}.0/24 scram-sha-256" for number in range(rules)
        ],
    }


class Host:
    """What the room `host` executes commands on. Bare until it converges."""

    def __init__(self) -> None:
        self._sections: dict[str, str] = {"leaves": "\n".join(LEAVES), "image": IMAGE, "leader": _leader()}

    def execute(self, command: str, data: bytes) -> Mapping[str, Any]:
        mark = _MARK.search(data)
        assert mark, command
        sections = {**self._sections, "end": ""}
        said = "".join(f"\n{mark[1].decode()} {name}\n{text}" for name, text in sections.items())
        return {"rc": 0, "stdout": said, "stderr": ""}

    def converge(self, options: Options) -> None:
        """Be as these options say."""
        pooler = variables.read(options)
        made = bundle.build(pooler, Facts(LEADER, *LEAVES))
        packed = files.packed(made.files)
        self._sections |= {
            "release": made.release,
            "files": base64.b64encode(packed).decode(),
            "units": _units(pooler),
            # An agent that runs knows the leader, and nobody else asks.
            "leader": "" if pooler.agent else _leader(),
            "links": "".join(f"pgbouncer@{console}.container\n" for console in pooler.consoles),
            "containers": _containers(pooler, made),
            "consoles": "".join(_console(pooler, made, console) for console in pooler.consoles),
        }


def _leader() -> str:
    return f'{{"host": "{LEADER.host}", "port": {LEADER.port}}}'


def _units(pooler: Pooler) -> str:
    names = [f"pgbouncer@{console}.{kind}" for console in pooler.consoles for kind in ("service", "socket")]
    names += ["pgbouncer-agent.service"] * (pooler.agent is not None)
    return "\n\n".join(
        f"Id={name}\nActiveState=active\nLoadState=loaded\nInvocationID={number:032x}"
        for number, name in enumerate(names, start=1)
    )


def _containers(pooler: Pooler, made: Bundle) -> str:
    lines = [f"pgbouncer-{console}|{IMAGE}|{made.unit_digest}\n" for console in pooler.consoles]
    lines += [f"pgbouncer-agent|{IMAGE}|{made.agent_digest}\n"] * (pooler.agent is not None)
    return "".join(lines)


def _console(pooler: Pooler, made: Bundle, console: int) -> str:
    (text,) = (file.content.decode() for file in made.release_files if file.path.endswith(f"/{console}.ini"))
    config = _DEFAULTS | ini.parse(text).pgbouncer
    databases = ini.parse(made.databases.content.decode()).databases
    rows = {
        "VERSION": [{"version": f"PgBouncer {settings.spelled(pooler.engine_version)}"}],
        "CONFIG": [{"key": key, "value": value, "default": _DEFAULTS[key]} for key, value in config.items()],
        "DATABASES": [
            {"name": name, "host": entry["host"], "port": entry["port"], "database": entry["dbname"]}
            | {"pool_size": entry["pool_size"], "pool_mode": entry.get("pool_mode", "")}
            for name, entry in databases.items()
        ],
    }
    return "".join(f"@ {console} {what}\n{_csv(table)}" for what, table in rows.items())


def _csv(rows: list[dict[str, str]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, rows[0], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
