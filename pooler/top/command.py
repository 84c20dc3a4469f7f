"""`pooler top`: the board, or its rows once, or as JSON for scripts."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass

from .. import beside
from ..errors import PoolerError
from . import board, sources
from .seen import Host


@dataclass(frozen=True)
class Options:
    """`where` are hosts for ssh, and connection strings of consoles; nothing means beside the agent with this `config`.

    `every` is in seconds.
    """

    config: str
    where: tuple[str, ...] = ()
    ssh: str = "ssh"
    every: float = 2.0
    once: bool = False
    as_json: bool = False


def top(options: Options) -> int:
    """Exit status: 1 when it was asked for once and not every instance serves. Raises PoolerError."""
    if options.every < 0.2:
        raise PoolerError(f"--every {options.every:g} is too often: 0.2 s at least")
    drawn = _sources(options)
    if options.once:
        hosts = asyncio.run(_once(drawn))
        found = board.arranged(board.rows(hosts), board.COLUMNS[0])
        for line in (
            (host.to_json() for host in hosts) if options.as_json else (board.summary(found), board.table(found))
        ):
            print(line)
        return 1 if any(row.state for row in found) else 0
    if options.as_json:
        return asyncio.run(_lines(drawn))
    try:
        from .screen import show
    except ModuleNotFoundError as error:
        if error.name != "textual":
            raise
        raise PoolerError("the board needs textual (pip install textual); --once and --json do without") from None
    show(drawn)
    return 0


def _sources(options: Options) -> list[AsyncIterator[Host]]:
    if not options.where:
        return [sources.beside_agent(beside.config(options.config), options.every)]
    consoles = [each for each in options.where if sources.is_console(each)]
    hosts = [each for each in options.where if not sources.is_console(each)]
    drawn: list[AsyncIterator[Host]] = [sources.over_ssh_from(options.ssh, host, options.every) for host in hosts]
    return [*drawn, *(sources.at_consoles([conninfo], options.every) for conninfo in consoles)]


async def _once(drawn: list[AsyncIterator[Host]]) -> list[Host]:
    """The second look of each, which has rates; the first where there is no more than trouble."""
    return list(await asyncio.gather(*map(_second, drawn)))


async def _second(source: AsyncIterator[Host]) -> Host:
    host = await anext(source)
    return host if host.error else await anext(source)


async def _lines(drawn: list[AsyncIterator[Host]]) -> int:
    """For ever: a line for each host whenever it tells. The end of who reads them is ours."""

    async def tell(source: AsyncIterator[Host]) -> None:
        async for host in source:
            print(host.to_json(), flush=True)

    try:
        async with asyncio.TaskGroup() as group:
            for source in drawn:
                group.create_task(tell(source))
    except* BrokenPipeError:
        # Nothing more can be written, not even by the interpreter as it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0
