"""Clients that keep their connections, as applications do, and work through them one transaction after the other."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import asyncpg

from .book import Stream
from .connect import connect, instance
from .failures import LOST, classify, describe
from .run import Run


async def work(run: Run, client: int) -> None:
    """Transactions until the run is over; a closed connection is replaced before the next one.

    So is one of a user who is no longer that of the load.
    """
    session: _Session | None = None
    turns = itertools.cycle(_TURNS[run.settings.work])
    while run.goes_on(Stream.TRANSACTIONS):
        if session and session.user != run.settings.user:
            await session.leave()
            session = None
        session = session if session and not session.is_closed else await _open(run, client)
        if session and not await _turn(run, client, session, next(turns)):
            session = None
        if not session:
            await asyncio.sleep(run.settings.back_off)
        await run.rest(run.settings.worker_pause)
    if session:
        await session.leave()


class _Session:
    """A connection, and how far the transaction on it has come."""

    def __init__(self, run: Run, client: int, connection: asyncpg.Connection) -> None:
        self._run = run
        self._client = client
        self._connection = connection
        self.user = run.settings.user
        self.where = instance(run.settings, client, connection)
        self._ended = False
        self.in_transaction = False
        self.answers = 0
        connection.add_termination_listener(self._terminated)

    @property
    def is_closed(self) -> bool:
        return bool(self._connection.is_closed())

    async def say(self, statement: str, *values: int) -> None:
        await self._connection.execute(statement, *values)
        self.answers += 1

    async def ask(self, statement: str, *values: int) -> str:
        found = await self._connection.fetchval(statement, *values)
        self.answers += 1
        return str(found)

    def closed(self, message: str, *, spoke: bool) -> None:
        """The other side closed it between two transactions; told once."""
        if not self._ended:
            self._ended = True
            self._run.connection_closed(message, self._client, spoke=spoke)

    def give_up(self) -> None:
        self._ended = True
        self._connection.terminate()

    async def leave(self) -> None:
        self._ended = True
        await self._connection.close(timeout=self._run.settings.hung_after)

    def _terminated(self, _connection: Any) -> None:
        if not self.in_transaction:
            self.closed("while it was idle", spoke=False)


async def _open(run: Run, client: int) -> _Session | None:
    began = time.monotonic()
    try:
        async with asyncio.timeout(run.settings.hung_after):
            session = _Session(run, client, await connect(run.settings, client))
    except Exception as error:  # whatever a client may see is counted
        run.failure(Stream.LOGINS, classify(error), describe(error), client)
        return None
    run.success(Stream.LOGINS, -1 - client, time.monotonic() - began, session.where)
    return session


_Turn = Callable[[Run, _Session, int], Awaitable[None]]


async def _turn(run: Run, client: int, session: _Session, turn: _Turn) -> bool:
    """One transaction; False when the connection is of no use any more."""
    began = time.monotonic()
    session.in_transaction, session.answers = True, 0
    try:
        async with asyncio.timeout(run.settings.hung_after):
            await turn(run, session, client)
    except Exception as error:  # whatever a client may see is counted
        kind = classify(error)
        if session.answers == 0 and (kind in LOST or session.is_closed):
            session.closed(describe(error), spoke=True)
        else:
            run.failure(Stream.TRANSACTIONS, kind, describe(error), client)
        session.give_up()
        return False
    session.in_transaction = False
    run.success(Stream.TRANSACTIONS, client, time.monotonic() - began, session.where)
    return True


async def _several(run: Run, session: _Session, client: int) -> None:
    number = run.ledger.draw()
    await session.say("BEGIN")
    await session.say("INSERT INTO drill_write VALUES ($1)", number)
    run.ledger.raising(client)
    await session.say("UPDATE drill_counter SET raised = raised + 1 WHERE client = $1", client)
    await session.say("SELECT raised FROM drill_counter WHERE client = $1", client)
    await _commit(run, session)
    run.ledger.acknowledge(number)
    run.ledger.raised(client)


async def _write(run: Run, session: _Session, client: int) -> None:
    number = run.ledger.draw()
    await session.say("BEGIN")
    await session.say("INSERT INTO drill_write VALUES ($1)", number)
    run.ledger.raising(client)
    await session.say("UPDATE drill_counter SET raised = raised + 1 WHERE client = $1", client)
    server = await session.ask("SELECT host(inet_server_addr()) FROM drill_counter WHERE client = $1", client)
    await _commit(run, session)
    run.ledger.acknowledge(number)
    run.ledger.raised(client)
    run.book.served_by(server)


async def _read(run: Run, session: _Session, _client: int) -> None:
    run.book.served_by(await session.ask("SELECT host(inet_server_addr()) FROM pg_sleep(0.01)"))


async def _commit(run: Run, session: _Session) -> None:
    run.ledger.committing()
    await session.say("COMMIT")
    run.ledger.committed()


async def _insert(run: Run, session: _Session, _client: int) -> None:
    number = run.ledger.draw()
    run.ledger.committing()
    await session.say("INSERT INTO drill_write VALUES ($1)", number)
    run.ledger.committed()
    run.ledger.acknowledge(number)


async def _select(_run: Run, session: _Session, client: int) -> None:
    await session.say("SELECT raised FROM drill_counter WHERE client = $1", client)


async def _update(run: Run, session: _Session, client: int) -> None:
    run.ledger.raising(client)
    run.ledger.committing()
    await session.say("UPDATE drill_counter SET raised = raised + 1 WHERE client = $1", client)
    run.ledger.committed()
    run.ledger.raised(client)


_TURNS: Mapping[str, Sequence[_Turn]] = {
    "mixed": (_several, _insert, _select, _update),
    "write": (_write,),
    "read": (_read,),
}
