"""`pooler drill EVENT`: load on a pool while something happens to what is behind it, and what its clients felt."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from ..errors import InvalidError, PoolerError, Problem
from ..switchover import preconditions
from ..switchover.patroni_rest import Rest
from . import target
from .happenings import HAPPENINGS
from .settings import Settings

HUNG_AFTER = 60.0
"""Seconds. Clients that wait for a new leader are not hung: one is elected after Patroni's ttl, 30 s by default."""

_WITHIN = 120.0


@dataclass(frozen=True)
class Options:
    """`run` is a command for the shell that makes it happen. `rest` is Patroni, asked who leads, and for a switchover.

    Without `run`, and for other events than a switchover, a person makes it happen. `candidate` is Patroni's choice
    when it is empty. `most_seconds` end it all.
    """

    event: str
    target: str
    password_file: str = ""
    workers: int = 20
    most_seconds: float = 600.0
    run: str = ""
    rest: Rest | None = None
    candidate: str = ""
    as_json: bool = False


def drill(options: Options) -> int:
    """Exit status: 0 nothing is lost and everybody works again, 1 otherwise. Raises PoolerError."""
    try:
        from .exercise import Exercise
    except ModuleNotFoundError as error:
        if error.name != "asyncpg":
            raise
        raise PoolerError("the load needs asyncpg (pip install asyncpg; Debian: python3-asyncpg)") from None
    exercise = Exercise(
        options.event, HAPPENINGS[options.event], _settings(options), _cause(options), _leader(options.rest), _say
    )
    found = asyncio.run(exercise.exercise())
    print(found.to_json() if options.as_json else found.text(), flush=True)
    return 0 if found.well else 1


def _settings(options: Options) -> Settings:
    if options.workers < 1:
        raise InvalidError([Problem("--workers", f"{options.workers} is too few", "at least 1")])
    where = target.parse(options.target)
    return Settings(
        host=where.host,
        port=where.port,
        user=where.user,
        database=where.database,
        password=target.password(options.password_file),
        ca=where.ca,
        workers=options.workers,
        worker_pause=0.1,
        back_off=0.1,
        work="write",
        logins=0,
        knocks=0,
        hung_after=HUNG_AFTER,
        most_seconds=options.most_seconds,
    )


def _cause(options: Options) -> Callable[[], Awaitable[list[str]]] | None:
    if options.run:
        return lambda: _shell(options.run)
    rest = options.rest
    if options.event == "switchover" and rest:
        return lambda: asyncio.to_thread(_switch_over, rest, options.candidate)
    return None


async def _shell(command: str) -> list[str]:
    """What it prints goes to standard error: standard output is the report's."""
    process = await asyncio.create_subprocess_shell(command, stdin=asyncio.subprocess.DEVNULL, stdout=sys.stderr)
    try:
        status = await process.wait()
    except asyncio.CancelledError:
        process.terminate()
        raise
    return [f"{command!r} ended with {status}"] if status else []


def _switch_over(rest: Rest, name: str) -> list[str]:
    """By Patroni alone. Raises PoolerError when it is refused beforehand."""
    cluster = rest.cluster()
    leader = preconditions.leader(cluster)
    candidate = preconditions.candidate(cluster, name or None, synchronous=rest.synchronous())
    body = {"leader": leader.name, "candidate": candidate.name}
    order = rest.order(rest.url(leader), "/switchover", body, _WITHIN)
    order.send()
    order.over.wait(_WITHIN)
    return [order.refused] if order.refused else []


def _leader(rest: Rest | None) -> Callable[[], str]:
    def ask() -> str:
        try:
            return preconditions.leader(rest.cluster()).name if rest else ""
        except PoolerError:
            return ""

    return ask


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
