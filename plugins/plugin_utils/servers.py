# Copyright: the pgfleet team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The way to PostgreSQL from the controller: TCP, with TLS and the server's name verified."""

from __future__ import annotations

import asyncio
import json
import re
import ssl
from collections.abc import Sequence
from dataclasses import dataclass, field

from ...pooler import sql
from ...pooler.errors import InvalidError, Problem
from ...pooler.server import Server
from .action import remedy
from .goal import DatabaseError, Observed

try:
    import asyncpg
except ImportError as error:
    MISSING: ImportError | None = error
else:
    MISSING = None

_CONNECT = 10.0
_COMMAND = 60.0
"""Seconds; a transaction of ours bounds itself to less."""

_SERVER = re.compile(r"(?:\[(?P<bracketed>[^\[\]]+)\]|(?P<name>[^\[\]:\s]+))(?::(?P<port>[0-9]{1,5}))?")


@dataclass(frozen=True)
class Login:
    """Who logs in. `ca`, `cert` and `key` are files on the controller; without `ca` the system's authorities count."""

    user: str
    password: str | None = field(default=None, repr=False)
    ca: str | None = None
    cert: str | None = None
    key: str | None = None


class Servers:
    """All servers of one cluster. The one that takes writes is worked on, and there has to be just one."""

    def __init__(self, servers: Sequence[str], login: Login) -> None:
        if MISSING:
            raise DatabaseError(remedy(MISSING))
        self._servers = _parsed(servers)
        self._login = login
        self._tls = _tls(login)
        self._leader: Server | None = None
        self.trips = 0

    @property
    def name(self) -> str:
        return ", ".join(map(str, [self._leader] if self._leader else self._servers))

    def ask(self, database: str, audit: str, statements: Sequence[str] = ()) -> Observed:
        self.trips += 1
        if self._leader is None:
            self._leader, document = asyncio.run(self._found(database, audit))
            if not statements:
                return document
        answer = asyncio.run(self._asked(self._leader, database, audit, statements))
        if isinstance(answer, str):
            raise DatabaseError(f"{self._leader}: {answer}")
        return answer

    async def _found(self, database: str, audit: str) -> tuple[Server, Observed]:
        """The leader, and what the audit tells there."""
        answers = await asyncio.gather(*(self._asked(server, database, audit) for server in self._servers))
        pairs = list(zip(self._servers, answers, strict=True))
        leaders = [(server, said) for server, said in pairs if not isinstance(said, str) and not said["in_recovery"]]
        if len(leaders) == 1:
            return leaders[0]
        if leaders:
            names = " and ".join(str(server) for server, _said in leaders)
            raise DatabaseError(
                f"{names} all take writes, so nothing was done (name the servers of one cluster; in a failover, wait "
                "until Patroni has stopped the old leader)"
            )
        told = [f"{server}: {said if isinstance(said, str) else 'is in recovery'}" for server, said in pairs]
        raise DatabaseError(
            "none of the servers takes writes, so nothing was done (name all servers of the cluster, the leader among "
            "them):\n" + "\n".join(told)
        )

    async def _asked(self, server: Server, database: str, audit: str, statements: Sequence[str] = ()) -> Observed | str:
        """The audit's document, or why there is none."""
        try:
            connection = await asyncpg.connect(
                host=server.host,
                port=server.port,
                user=self._login.user,
                password=self._login.password,
                database=database,
                ssl=self._tls,
                timeout=_CONNECT,
                command_timeout=_COMMAND,
                target_session_attrs="any",
                server_settings={"application_name": "pgfleet"},
            )
            try:
                for statement in statements:
                    await connection.execute(statement)
                document: Observed = json.loads(await connection.fetchval(audit))
            finally:
                await connection.close(timeout=_CONNECT)
        except asyncpg.InsufficientPrivilegeError as error:
            return f"{error} (log in as a superuser)"
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            return sql.masked(str(error) or type(error).__name__)
        return document


def _parsed(texts: Sequence[str]) -> list[Server]:
    servers, problems = [], []
    for index, text in enumerate(texts):
        match = _SERVER.fullmatch(text)
        port = int((match and match["port"]) or 5432)
        if match is None or not 1 <= port <= 65535:
            what = f"{text!r} is no address"
            problems.append(Problem(f"servers[{index}]", what, "db1.example.com, 10.0.1.11:5433 or [fd00::11]:5432"))
        else:
            servers.append(Server(match["bracketed"] or match["name"], port))
    if problems:
        raise InvalidError(problems)
    return servers


def _tls(login: Login) -> ssl.SSLContext:
    """Nothing is asked of a server whose certificate does not say its name. Raises InvalidError."""
    try:
        context = ssl.create_default_context(cafile=login.ca)
    except OSError as error:
        raise InvalidError([Problem("ca", f"{login.ca}: {error.strerror or error}")]) from None
    if login.cert:
        try:
            # Without a password here, OpenSSL would ask the terminal for that of an encrypted key.
            context.load_cert_chain(login.cert, login.key, password="")
        except OSError as error:
            raise InvalidError([Problem("cert", f"{login.cert}, {login.key}: {error.strerror or error}")]) from None
    return context
