"""Each server of the cluster asked by SQL, over a direct connection that is kept: does it take writes?"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from ..errors import PoolerError
from ..server import Server
from . import wire
from .config import AgentConfig
from .decide import Word
from .rhythm import due

NAME = "pooler-agent"
"""application_name of these connections."""

AT_REST = 1.0
HURRY = 0.1
"""Seconds between two questions to a server that does not lead, while all is well and while there is no leader."""

_TIMEOUT = 3
"""Intervals in which a server must have answered."""

# The timeline of the WAL that is written, which is another as soon as a server is promoted; on the control file it is
# only after the next checkpoint.
QUESTION = (
    "SELECT CASE WHEN pg_catalog.pg_is_in_recovery() THEN ''"
    " ELSE pg_catalog.substr(pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_lsn()), 1, 8) END"
)


@dataclass(frozen=True)
class Answer:
    """The last that a server has said, or failed to. `misses` in a row without an answer that it takes writes.

    `silences` in a row without any answer. `at` is None before the first; `error` says why there is none.
    """

    at: float | None = None
    word: Word | None = None
    misses: int = 0
    silences: int = 0
    error: str = ""

    def repeats(self, before: Answer) -> bool:
        """Whether it tells nothing that was not known."""
        return replace(self, at=before.at) == before


class Probe:
    """One server, asked again and again by `run`; `heard` is called after every answer that tells something new."""

    def __init__(
        self, server: Server, config: AgentConfig, tls: ssl.SSLContext, pace: Callable[[Server], float]
    ) -> None:
        self.server = server
        self.answer = Answer()
        self._interval = config.interval
        self._parameters = {
            "user": config.role,
            "database": config.dbname,
            "application_name": NAME,
            "options": f"-c statement_timeout={int(_TIMEOUT * config.interval * 1000)}",
        }
        self._password = config.password
        self._tls = tls
        self._pace = pace
        self._session: wire.Session | None = None

    async def run(self, heard: Callable[[], None]) -> None:
        try:
            while True:
                before = self.answer
                await self._ask()
                if not self.answer.repeats(before):
                    heard()
                if not await self._wait():
                    # It has hung up: whether it still serves is asked at once.
                    self._miss("the server has closed the connection")
                    heard()
        finally:
            self._close()

    async def _ask(self) -> None:
        try:
            async with asyncio.timeout(_TIMEOUT * self._interval):
                if self._session is None:
                    self._session = await wire.over_tls(
                        self.server.host, self.server.port, self._tls, self._parameters, self._password
                    )
                (table,) = await self._session.ask(QUESTION)
            (timeline,) = table.first()
            word = Word(writable=bool(timeline), timeline=int(timeline or "0", 16))
            misses = 0 if word.writable else self.answer.misses + 1
            self.answer = Answer(time.monotonic(), word, misses)
        except TimeoutError:
            self._miss(f"no answer within {_TIMEOUT * self._interval:g} s")
        except (PoolerError, ValueError) as error:
            self._miss(str(error))

    def _miss(self, why: str) -> None:
        self._close()
        answer = self.answer
        self.answer = replace(
            answer,
            at=time.monotonic(),
            word=None,
            misses=answer.misses + 1,
            silences=answer.silences + 1,
            error=why,
        )

    async def _wait(self) -> bool:
        """Until the next question; False when the server hangs up before."""
        if self._session is None:
            # After the first silence the second question follows at once: two are needed for a loss.
            await asyncio.sleep(0 if self.answer.silences == 1 else max(HURRY, self._pace(self.server)))
            return True
        asked = time.monotonic()
        # The pace may change meanwhile.
        while (left := due(asked, self._pace(self.server)) - time.monotonic()) > 0:
            if not await self._session.quiet(min(left, self._interval)):
                return False
        return True

    def _close(self) -> None:
        if self._session is not None:
            self._session.close()
            self._session = None


class Probes:
    """One probe a server; those come and go with the members of the cluster."""

    def __init__(
        self,
        config: AgentConfig,
        tls: ssl.SSLContext,
        pace: Callable[[Server], float],
        heard: Callable[[], None],
    ) -> None:
        self._config = config
        self._tls = tls
        self._pace = pace
        self._heard = heard
        self._running: dict[Server, tuple[Probe, asyncio.Task[None]]] = {}

    def keep(self, servers: Iterable[Server]) -> None:
        """Ask these, and no others."""
        wanted = set(servers)
        for server in set(self._running) - wanted:
            self._running.pop(server)[1].cancel()
        for server in wanted - set(self._running):
            probe = Probe(server, self._config, self._tls, self._pace)
            self._running[server] = (probe, asyncio.create_task(probe.run(self._heard)))

    def answer(self, server: Server | None) -> Answer:
        return self._running[server][0].answer if server in self._running else Answer()

    def answers(self) -> dict[Server, Answer]:
        return {server: probe.answer for server, (probe, _task) in self._running.items()}
