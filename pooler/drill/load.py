"""A whole run: tables, clients, warm-up, the time that counts, and the tables read back."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

import asyncpg

from ..errors import PoolerError
from .book import Stream
from .connect import connect
from .failures import describe
from .ledger import Verdict
from .report import Report
from .run import Run
from .storm import knock, log_in
from .workers import work

_TABLES = """
CREATE TABLE IF NOT EXISTS drill_write (number bigint);
CREATE TABLE IF NOT EXISTS drill_counter (client int PRIMARY KEY, raised bigint NOT NULL);
TRUNCATE drill_write, drill_counter;
"""


async def load(run: Run, when_warm: Callable[[], None]) -> Report:
    """Until `run.stop` is set, or the settings' bounds are reached. Raises PoolerError when it cannot begin or end."""
    settings = run.settings
    if settings.work != "read":
        await _prepare(run)
    async with asyncio.TaskGroup() as clients:
        for stream, count, client in (
            (Stream.TRANSACTIONS, settings.workers, work),
            (Stream.LOGINS, settings.logins, log_in),
            (Stream.KNOCKS, settings.knocks, knock),
        ):
            for number in range(1, count + 1):
                run.join(stream, number)
                clients.create_task(client(run, number))
        began, seconds, trouble = await _measure(run, when_warm)
        run.stop.set()
    if trouble:
        raise trouble
    verdict = await _read_back(run) if settings.work != "read" else run.ledger.compare((), {})
    return Report.of(run.book, began, seconds, verdict)


async def _measure(run: Run, when_warm: Callable[[], None]) -> tuple[float, float, PoolerError | None]:
    """When the time that counts began, since the epoch, and how long it was; or why it did not begin."""
    try:
        began = await run.warm()
    except PoolerError as trouble:
        return 0, 0, trouble
    when_warm()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(run.settings.most_seconds):
            await run.stop.wait()
    return began, run.book.end(), None


async def _prepare(run: Run) -> None:
    connection = await _patiently(run)
    try:
        await connection.execute(_TABLES)
        counters = [(client, 0) for client in range(1, run.settings.workers + 1)]
        await connection.executemany("INSERT INTO drill_counter VALUES ($1, $2)", counters)
    finally:
        await connection.close()


async def _read_back(run: Run) -> Verdict:
    connection = await _patiently(run)
    try:
        numbers = [row["number"] for row in await connection.fetch("SELECT number FROM drill_write")]
        counters = {row["client"]: row["raised"] for row in await connection.fetch("SELECT * FROM drill_counter")}
    finally:
        await connection.close()
    return run.ledger.compare(numbers, counters)


async def _patiently(run: Run) -> asyncpg.Connection:
    """A connection for ourselves, as soon as there is one to be had within the time for warming up."""
    deadline = asyncio.get_running_loop().time() + run.settings.warm_up
    while True:
        try:
            async with asyncio.timeout(run.settings.hung_after):
                return await connect(run.settings)
        except Exception as error:
            if asyncio.get_running_loop().time() > deadline:
                raise PoolerError(f"{run.settings.host}:{run.settings.port}: {describe(error)}") from error
            await asyncio.sleep(0.2)
