"""Clients leave one instance before it ends, asked from inside its container: Kubernetes calls it before it stops one.

The same steps as in `shell_apply`, which drains an instance of a host from outside.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

from .agent.config import DRAINING
from .agent.consoles import CONSOLE, RUNTIME
from .agent.wire import Session, over_socket
from .errors import PoolerError

_POLL = 0.1


async def drain(
    socket: str,
    notice: float,
    clients: float,
    transactions: float,
    say: Callable[[str], None],
    draining: str = DRAINING,
) -> None:
    """The agent says so, and `notice` seconds later no new clients come in. Those there are leave by themselves for
    `clients` seconds, then between transactions for `transactions` seconds, then at once.

    Raises PoolerError when the console cannot be asked.
    """
    Path(draining).touch()
    await asyncio.sleep(notice)
    # A stopping engine opens no new consoles; this one counts as a client, so that the engine stays until it ends.
    session = await over_socket(socket, CONSOLE, CONSOLE)
    try:
        await session.tell("SHUTDOWN WAIT_FOR_CLIENTS")
        left = await _gone(session, clients)
        if not left:
            return
        say(f"closed {left} between transactions")
        await session.tell("SHUTDOWN WAIT_FOR_SERVERS")
        if not await _gone(session, transactions):
            return
        (servers,) = await session.ask("SHOW SERVERS")
        busy = sum(state == "active" for _database, state in servers.picked("database", "state"))
        say(f"cut {busy} in transactions")
        await session.tell("SHUTDOWN")
    except PoolerError:
        # The last client has gone, and the engine with it.
        return
    finally:
        session.close()


def socket_of(console: int, port: int) -> str:
    return f"{RUNTIME}/{console}/.s.PGSQL.{port}"


async def _gone(session: Session, seconds: float) -> int:
    """Wait until no client is left but us; how many are there when the time is over."""
    ends = time.monotonic() + seconds
    while True:
        (lists,) = await session.ask("SHOW LISTS")
        left = int(lists.pairs("list", "items")["used_clients"]) - 1
        if not left or time.monotonic() >= ends:
            return left
        await asyncio.sleep(_POLL)
