"""The daemon: its parts put together, and its life."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import ssl
import time
from pathlib import Path

from .. import patroni
from ..errors import PoolerError
from ..metrics.families import CONTENT_TYPE
from ..metrics.scrape import Metrics
from . import health, journal, server
from .config import AgentConfig
from .consoles import ALL, Facts
from .control import Control
from .follower import Follower
from .hands import Hands
from .health import Picture
from .hosts import HostsFile
from .instances import Instances
from .logins import Logins
from .records import Records
from .server import Answer, Request
from .shown import Shown

_STUCK = 10.0
"""Seconds without a turn after which the agent does not call itself alive."""


def run(path: str) -> int:
    """Run until SIGTERM. Raises PoolerError for a configuration that cannot be used."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise PoolerError(f"{path}: {error.strerror}") from None
    asyncio.run(_Agent(AgentConfig.from_json(text, name=path)).run())
    return 0


class _Agent:
    def __init__(self, config: AgentConfig) -> None:
        tls = _tls(config)
        hosts = HostsFile()
        self._config = config
        self._records = Records()
        self._instances = Instances(config, self._waiting, self._looked)
        self._hands = Hands(config, hosts, self._records, self._instances)
        self._follower = Follower(config, hosts, self._hands, tls)
        self._control = Control(config, self._follower, self._hands, self._instances)
        self._logins = Logins(config.consoles)
        self._shown = Shown(self._follower.probes.answers, config.patroni)
        self._metrics = Metrics(config, self._hands.counts, self._logins, self._shown, self._picture)

    async def run(self) -> None:
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        config = self._config
        tls = server.context(config.server_leaf) if config.tls else None
        listening = await server.Server(self._answer, self._control.gone).start(config.listen, config.health_port, tls)
        tasks: list[asyncio.Task[None]] = [
            asyncio.create_task(self._instances.run()),
            asyncio.create_task(self._follow()),
            asyncio.create_task(self._logins.run()),
        ]
        if config.targets:
            tasks.append(asyncio.create_task(self._follower.patroni.run()))
            tasks.append(asyncio.create_task(self._shown.run()))
        tasks.append(asyncio.create_task(self._tell_systemd()))
        stopping = asyncio.create_task(_set(stop))
        # No task ends by itself: one that does has failed, and the agent is started anew.
        done, _pending = await asyncio.wait([stopping, *tasks[:-1]], return_when=asyncio.FIRST_COMPLETED)
        listening.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._hands.made:
            journal.say("stopping: the agent's own pause is ended")
            for wrong in await self._hands.resume():
                journal.trouble(wrong)
        for task in done - {stopping}:
            task.result()

    async def _follow(self) -> None:
        """Not before every instance has been looked at: who is not known to answer is told nothing."""
        await self._instances.all_seen.wait()
        await self._follower.run()

    async def _tell_systemd(self) -> None:
        """After the first turn."""
        await self._follower.turned.wait()
        path = os.environ.get("NOTIFY_SOCKET")
        if path:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
                notify.connect("\0" + path[1:] if path.startswith("@") else path)
                notify.send(b"READY=1")
        journal.say("ready")

    def _looked(self, news: bool) -> None:
        self._follower.looked(news=news)

    def _waiting(self, facts: Facts) -> bool:
        """Whether a query through the pools would wait, so that it is not asked."""
        return ALL in facts.paused or self._hands.pausing

    async def _answer(self, request: Request) -> Answer:
        path = request.path
        if path in ("/live", "/ready", "/ready/replica", "/status", "/metrics"):
            if request.method not in ("GET", "HEAD"):
                return Answer(405, {"error": "GET"})
            return self._tell_metrics(request) if path == "/metrics" else self._health(path)
        return await self._control.answer(request) or Answer(404, {"error": "no such thing"})

    def _health(self, path: str) -> Answer:
        if path == "/live":
            turning = time.monotonic() - self._follower.last_turn < _STUCK
            return Answer(200 if turning else 503, {"live": turning})
        picture = self._picture()
        if path == "/status":
            return Answer(200, health.status(picture))
        body = health.ready(picture, replica=path == "/ready/replica")
        return Answer(200 if body["ready"] else 503, body)

    def _tell_metrics(self, request: Request) -> Answer:
        """Names of databases and users are in there: not for everybody who can reach the port."""
        if self._config.tls and self._config.metrics_certificate and request.who is None:
            return Answer(403, {"error": "needs a client certificate of the same authority"})
        return Answer(text=self._metrics.text(), content_type=CONTENT_TYPE)

    def _picture(self) -> Picture:
        follower, now = self._follower, time.monotonic()
        seen = self._instances.seen
        return Picture(
            now=now,
            epoch=time.time(),
            state=follower.state,
            instances=dict(seen),
            follows=bool(self._config.targets),
            held=follower.held_until - now if follower.held(now) else None,
            draining=self._records.draining(),
            operators=self._records.paused(),
            by_hand={name: self._hands.by_hand(name, each.facts) for name, each in seen.items() if each.facts},
            serving=follower.serving,
            answers=follower.probes.answers(),
            views=follower.patroni.views,
            trouble=follower.trouble,
        )


def _tls(config: AgentConfig) -> ssl.SSLContext:
    """Towards PostgreSQL and Patroni, whom an agent that follows nobody does not ask."""
    leaf = Path(config.client_leaf)
    if not config.targets:
        return ssl.create_default_context()
    return patroni.context(str(leaf / "ca.crt"), str(leaf / "tls.crt"), str(leaf / "tls.key"))


async def _set(event: asyncio.Event) -> None:
    await event.wait()
