"""`pooler drill`: load on a pool, maybe while something happens to what is behind it, and what its clients felt."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import InvalidError, PoolerError, Problem
from ..switchover import preconditions
from ..switchover.patroni_rest import Rest
from . import target
from .happenings import HAPPENINGS, LOAD
from .limits import Limits
from .settings import Settings

if TYPE_CHECKING:
    from .book import Book
    from .timeline import Timeline

HUNG_AFTER = 60.0
"""Seconds. Clients that wait for a new leader are not hung: one is elected after Patroni's ttl, 30 s by default."""

_WITHIN = 120.0

_NEEDED = {"asyncpg": "asyncpg (Debian: python3-asyncpg)", "hdrh": "hdrhistogram"}
"""What pip calls the modules that not everybody has."""


@dataclass(frozen=True)
class Options:
    """`run` is a command for the shell that makes it happen. `rest` is Patroni, asked who leads, and for a switchover.

    Without `run`, and for other events than a switchover, a person makes it happen. `candidate` is Patroni's choice
    when it is empty. `most_seconds` end it all; of the load alone they are its time. `logins` clients open a new
    connection for each query, `knocks` only ask for TLS. `report` is the HTML file to be written, empty for none.
    """

    event: str
    target: str
    password_file: str = ""
    workers: int = 20
    logins: int = 0
    knocks: int = 0
    work: str = "write"
    pause: float = 0.1
    most_seconds: float = 600.0
    most_turns: int = 1_000_000
    limits: Limits = field(default_factory=Limits)
    report: str = ""
    run: str = ""
    rest: Rest | None = None
    candidate: str = ""
    as_json: bool = False


def drill(options: Options) -> int:
    """Exit status: 0 nothing is lost and everybody works again, 1 otherwise. Raises PoolerError."""
    try:
        from . import html
        from .exercise import Exercise
    except ModuleNotFoundError as error:
        if error.name not in _NEEDED:
            raise
        raise PoolerError(f"the load needs {error.name}: pip install {_NEEDED[error.name]}") from None
    say, paint = _screen()
    exercise = Exercise(
        options.event,
        HAPPENINGS[options.event],
        _settings(options),
        _cause(options),
        _leader(options.rest),
        say,
        paint,
        options.limits,
    )
    found = asyncio.run(exercise.exercise())
    if options.report:
        Path(options.report).write_text(html.render(found), encoding="utf-8")
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
        worker_pause=options.pause,
        back_off=0.1,
        work=options.work,
        logins=options.logins,
        knocks=options.knocks,
        hung_after=HUNG_AFTER,
        # The load alone ends by itself.
        most_seconds=options.most_seconds + (_WITHIN if options.event == LOAD else 0),
        most_turns=options.most_turns,
    )


def _cause(options: Options) -> Callable[[], Awaitable[list[str]]] | None:
    if options.run:
        return lambda: _shell(options.run)
    if options.event == LOAD:
        return lambda: asyncio.sleep(options.most_seconds, [])
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


def _screen() -> tuple[Callable[[str], None], Callable[[Book, Timeline, float], None]]:
    """How something is said, and how is shown what goes on: standard output is the report's."""
    from . import live

    if not sys.stderr.isatty():

        def say(text: str) -> None:
            print(text, file=sys.stderr, flush=True)

        return say, lambda book, _timeline, rate: say(live.line(book, rate))
    painter = live.Painter(sys.stderr)
    return painter.say, lambda book, timeline, rate: painter.paint(live.board(book, timeline, rate))
