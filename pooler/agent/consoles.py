"""The consoles of the instances, each asked in sessions of a moment.

A session is a client to the engine, which does not end while it has clients: so none is kept.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import dataclass

from ..commands import quoted
from ..errors import PoolerError
from . import wire
from .wire import Table

RUNTIME = "/run/pgbouncer"
CONSOLE = "pgbouncer"
"""Database of the console, and the user whom it lets in from a process of its own uid."""

SECONDS = 2.0
"""For one session."""

ALL = "*"
"""Stands for a pause of everything at once."""

_POLL = 0.002


@dataclass(frozen=True)
class Link:
    """Connections to one server from a pool of one database; `leaving`: closed as soon as they are free."""

    database: str
    address: str
    port: int
    leaving: bool


@dataclass(frozen=True)
class Facts:
    """What an instance says. `at` is when it was asked, in seconds of time.monotonic.

    `hosts` has the host and port of each database, `paused` those that are paused, `ALL` among them when everything is.
    """

    at: float
    hosts: Mapping[str, tuple[str, int]]
    paused: frozenset[str]
    links: frozenset[Link]


class Console:
    """One instance. Methods raise PoolerError, with its words or why there are none."""

    def __init__(self, name: int, port: int, runtime: str = RUNTIME) -> None:
        self.name = name
        self.socket = f"{runtime}/{name}/.s.PGSQL.{port}"
        self._rows: dict[bytes, tuple[str, str, int, bool]] = {}
        self._hosts: Mapping[str, tuple[str, int]] = {}

    async def facts(self) -> Facts:
        """Hosts, pauses and server connections. The hosts are the same object as long as they are the same."""
        at = time.monotonic()
        # The first answer is short. While a long one is under way, nothing more may be asked.
        async with self._session(SECONDS, "SHOW STATE", "SHOW DATABASES") as session:
            state, databases = await session.told(2)
            (servers,) = await session.ask("SHOW SERVERS")
        try:
            # Of a thousand databases hardly one is another than it was a second ago.
            self._rows = {row: self._rows.get(row) or _database(databases, row) for row in databases.rows}
            links = _links(servers)
        except ValueError as error:
            raise PoolerError(f"says what is not understood ({error})") from None
        found = self._rows.values()
        hosts = {name: (host, port) for name, host, port, _paused in found if name != CONSOLE}
        if hosts != self._hosts:
            self._hosts = hosts
        paused = frozenset(name for name, _host, _port, is_paused in found if is_paused)
        return Facts(at, self._hosts, paused | _everything(state), links)

    async def tell(self, *commands: str) -> None:
        """Commands in one session, until all are answered."""
        async with self._session(SECONDS, *commands) as session:
            await session.told(len(commands))

    async def start_pause(self, databases: Collection[str] | None) -> None:
        """Pause these, or everything: no transaction begins from now on. Does not wait for those under way.

        It stays in force without the session in which it was ordered. What is paused already stays so.
        """
        # The engine reads in order and does not answer a PAUSE that waits: the last answer tells that it was read.
        async with self._session(SECONDS, *_pauses(databases), "SHOW VERSION") as session:
            await _table(session)

    async def over(self, databases: Collection[str] | None, seconds: float) -> None:
        """Wait until no transaction is left in these, or in any, after they were paused."""
        late = f"transactions are open for more than {seconds:g} s"
        async with self._session(seconds, "SHOW SERVERS", late=late) as session:
            # A pause closes server connections as they become free: the last one gone, all is over.
            while _connected(await _table(session), databases):
                await asyncio.sleep(_POLL)
                session.send("SHOW SERVERS")

    async def resume(self, mine: Collection[str], first: Collection[str] = ()) -> None:
        """End these pauses; those that are over already are none.

        `first` are those of them that are most likely in force, in the form in which they were made: for clients each
        question beforehand would be a wait. Of what is not in force the engine refuses the end.

        Where the last login at a server failed, also before the pause, the engine turns away who comes now, unless the
        pool knows no server's welcome: then everybody who logs in waits for one.
        """
        likely = (*(f"RECONNECT{form}" for form in forms(first)), *resumes(first))
        async with self._session(SECONDS, *likely) as session:
            await session.answers(len(likely))
            state, databases = await session.ask("SHOW STATE", "SHOW DATABASES")
            paused = {name for name, is_paused in databases.picked("name", "paused") if is_paused == "1"}
            if left := resumes((_everything(state) | paused) & frozenset(mine)):
                await session.tell(*left)

    @contextlib.asynccontextmanager
    async def _session(self, seconds: float, *queries: str, late: str = "") -> AsyncIterator[wire.Session]:
        try:
            async with asyncio.timeout(seconds):
                with contextlib.closing(await wire.over_socket(self.socket, CONSOLE, CONSOLE, *queries)) as session:
                    yield session
        except TimeoutError:
            raise PoolerError(late or f"does not answer within {seconds:g} s") from None


def resumes(paused: Collection[str]) -> tuple[str, ...]:
    """A RESUME of everything leaves databases paused that were paused one by one, and the other way round."""
    return tuple(f"RESUME{form}" for form in forms(paused))


def forms(databases: Collection[str]) -> tuple[str, ...]:
    """What follows a command for everything, and for each of them."""
    return *(("",) if ALL in databases else ()), *(f" {quoted(name)}" for name in sorted(databases) if name != ALL)


async def _table(session: wire.Session) -> Table:
    """The answer to the next SHOW, which alone has columns; answers to orders before it are passed over."""
    while True:
        table, _refusal = await session.answer()
        if table.columns:
            return table


def _connected(servers: Table, databases: Collection[str] | None) -> bool:
    return any(databases is None or database in databases for database, _state in servers.picked("database", "state"))


def _pauses(databases: Collection[str] | None) -> Sequence[str]:
    return ["PAUSE"] if databases is None else [f"PAUSE {quoted(name)}" for name in sorted(databases)]


def _database(table: Table, row: bytes) -> tuple[str, str, int, bool]:
    """Name, host, port, and whether it is paused."""
    ((name, host, port, paused),) = Table(table.columns, (row,)).picked("name", "host", "port", "paused")
    return name, host, int(port), paused == "1"


def _links(servers: Table) -> frozenset[Link]:
    return frozenset(
        Link(database, address, int(port), leaving == "1")
        for database, address, port, leaving in servers.picked("database", "addr", "port", "close_needed")
    )


def _everything(state: Table) -> frozenset[str]:
    paused = ("paused", "yes") in state.picked("key", "value")
    return frozenset((ALL,)) if paused else frozenset()
