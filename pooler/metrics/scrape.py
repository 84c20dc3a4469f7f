"""One scrape: every instance is asked, and what has been heard is told, family by family."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Mapping
from contextlib import closing
from functools import cache, partial
from pathlib import Path

from .. import __version__
from ..agent import wire
from ..agent.config import DATABASE, AgentConfig
from ..agent.counts import Counts
from ..agent.health import Picture
from ..agent.instances import SECONDS
from ..agent.logins import Logins
from ..agent.shown import Shown
from ..errors import PoolerError
from . import exporter, ours
from .ask import Answers, ask
from .expiry import Expiry, expiries
from .families import Sample, written
from .ours import Host

_PACKAGES = "/var/lib/dpkg/status"
_MOST_CONNECTIONS = (
    "SELECT pg_catalog.current_setting('max_connections')::int"
    " - pg_catalog.current_setting('superuser_reserved_connections')::int"
    " - coalesce(pg_catalog.current_setting('reserved_connections', true)::int, 0)"
)


class Metrics:
    """`text` is the answer to a scrape, piece by piece. One at a time: a piece may have thousands of lines."""

    def __init__(
        self, config: AgentConfig, counts: Counts, logins: Logins, shown: Shown, picture: Callable[[], Picture]
    ) -> None:
        self._config = config
        self._counts = counts
        self._logins = logins
        self._shown = shown
        self._picture = picture
        self._one = asyncio.Lock()

    async def text(self) -> AsyncGenerator[bytes]:
        async with self._one:
            began = time.monotonic()
            picture = self._picture()
            consoles = [instance.console for instance in picture.instances.values()]
            answers = dict(zip(picture.instances, await asyncio.gather(*map(ask, consoles)), strict=True))
            found, missing = certificates((self._config.server_leaf, self._config.client_leaf))
            if self._logins.trouble:
                missing["refused logins"] = self._logins.trouble
            host = Host(
                picture,
                self._counts,
                __version__,
                expiries=found,
                shown=self._shown.expiries,
                most_connections=await self._most_connections(picture),
                package=package(),
                descriptors=self._config.nofile,
                missing=missing,
                refused=self._logins.refused if self._logins.heard else None,
                asked_seconds=time.monotonic() - began,
            )
            for piece in told(host, answers):
                yield piece.encode("utf-8", "replace")
                # The leader is looked after meanwhile.
                await asyncio.sleep(0)

    async def _most_connections(self, picture: Picture) -> int | None:
        """Asked through a pool that has just served; one that does not would keep the question waiting."""
        for instance in picture.instances.values():
            pool = instance.leader_pool
            if picture.state.pause is None and pool is not None and pool.writable and pool.fresh(picture.now):
                try:
                    async with asyncio.timeout(SECONDS):
                        with closing(
                            await wire.over_socket(instance.console.socket, self._config.role, DATABASE)
                        ) as session:
                            (table,) = await session.ask(_MOST_CONNECTIONS)
                    return int(table.first()[0])
                except (PoolerError, ValueError, TimeoutError):
                    return None
        return None


def told(host: Host, answers: Mapping[int, Answers]) -> Iterator[str]:
    """The text of a scrape in pieces, none much longer than a sample for each database. Never fails."""
    missing = {console: dict(each.missing) for console, each in answers.items()}
    yield from _wide(answers, missing)
    yield from written([*_narrow(host, answers, missing), *ours.of_host(host), *_up(host, missing)])


def _up(host: Host, missing: Mapping[int, Mapping[str, str]]) -> Iterator[Sample]:
    for console, lacking in missing.items():
        yield Sample(exporter.UP, (ours.named(console),), not lacking)
        for what, why in lacking.items():
            yield Sample(ours.MISSING, (ours.named(console), what, why), 1)
    for what, why in host.missing.items():
        yield Sample(ours.MISSING, ("", what, why), 1)


def certificates(leaves: Iterable[str]) -> tuple[dict[str, list[Expiry]], dict[str, str]]:
    """By file, and why there are none of others."""
    found, missing = {}, {}
    for path in dict.fromkeys(f"{leaf}/{name}" for leaf in leaves if leaf for name in ("tls.crt", "ca.crt")):
        try:
            found[path] = expiries(Path(path).read_text(encoding="ascii"))
        except OSError as error:
            missing[path] = error.strerror or str(error)
        except (PoolerError, ValueError) as error:
            missing[path] = str(error)
    return found, missing


def _wide(answers: Mapping[int, Answers], missing: dict[int, dict[str, str]]) -> Iterator[str]:
    """The families that have a sample for every database or pool."""
    for wide in exporter.WIDE:
        found = []
        for console, each in answers.items():
            if wide.show in each.tables:
                try:
                    found.append(exporter.rows(wide, ours.named(console), each.tables[wide.show]))
                except PoolerError as error:
                    missing[console][wide.show] = str(error)
        yield from exporter.written(wide, found)


def _narrow(host: Host, answers: Mapping[int, Answers], missing: dict[int, dict[str, str]]) -> Iterator[Sample]:
    for console, each in answers.items():
        name, tables = ours.named(console), each.tables
        readers: list[tuple[tuple[str, ...], Callable[..., Iterator[Sample]]]] = [
            *(((show,), partial(read, name)) for show, read in exporter.READERS.items()),
            *((shows, partial(read, host, name)) for shows, read in ours.READERS),
        ]
        for shows, read in readers:
            if all(show in tables for show in shows):
                try:
                    yield from list(read(*(tables[show] for show in shows)))
                except PoolerError as error:
                    missing[console][shows[0]] = str(error)


@cache
def package() -> str:
    """The engine's package in this image, which is the instances' too; empty where Debian does not tell."""
    try:
        text = Path(_PACKAGES).read_text(encoding="utf-8")
    except (OSError, ValueError):
        return ""
    found = re.search(r"(?m)^Package: pgbouncer\n(?:.+\n)*?Version: (.+)$", text)
    return found[1] if found else ""
