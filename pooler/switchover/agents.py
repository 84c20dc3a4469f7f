"""The agents of all pooler hosts, ordered about at the same time over one kept connection each.

An agent undoes by itself what the holder of such a connection has ordered as soon as the connection ends. So it is
never opened a second time: after an error the agent is on its own, and as it is to be.
"""

from __future__ import annotations

import http.client
import json
import ssl
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

from ..errors import PoolerError
from ..server import Server

_GRACE = 3.0
"""Seconds beyond its own limit in which an agent must have answered."""


@dataclass(frozen=True)
class Canary:
    """What one client at one host has felt: its longest wait in seconds, and its transactions."""

    stall: float
    failed: int
    done: int


class Agent:
    """One agent. Every call raises PoolerError, naming the agent, when it refuses, does not answer, or is lost."""

    def __init__(self, url: str, tls: ssl.SSLContext | None, timeout: float = 5.0) -> None:
        parts = urlsplit(url)
        self.url = url.rstrip("/")
        self._timeout = timeout
        self.lost = ""
        """Why the connection has ended, if it has."""
        host, port = parts.hostname or "", parts.port or 9127
        self._connection: http.client.HTTPConnection
        if parts.scheme == "https":
            self._connection = http.client.HTTPSConnection(host, port, timeout=timeout, context=tls)
        else:
            self._connection = http.client.HTTPConnection(host, port, timeout=timeout)
        # Else a request after an error would silently begin a connection for which the agent holds nothing.
        self._connection.auto_open = 0

    def connect(self) -> None:
        try:
            self._connection.connect()
        except (OSError, http.client.HTTPException) as error:
            raise self._lose(error) from None

    def close(self) -> None:
        self._connection.close()

    def hold(self, seconds: float) -> None:
        self._post("/hold", {"seconds": seconds})

    def pause(self) -> None:
        self._post("/pause")

    def point(self, server: Server, seconds: float = 0.0) -> None:
        self._post("/point", {"host": server.host, "port": server.port, "seconds": seconds}, seconds)

    def resume(self) -> None:
        self._post("/resume")

    def release(self) -> None:
        self._post("/release")

    def start_canary(self) -> None:
        self._post("/canary")

    def stop_canary(self) -> Canary:
        answer = self._post("/canary/stop")
        try:
            return Canary(float(answer["stall"]), int(answer["failed"]), int(answer["done"]))
        except (KeyError, TypeError, ValueError) as error:
            raise PoolerError(f"{self.url}: POST /canary/stop is not understood ({error!r})") from None

    def _post(self, path: str, body: Mapping[str, object] | None = None, seconds: float = 0.0) -> dict[str, Any]:
        if self.lost:
            raise PoolerError(self.lost)
        try:
            if self._connection.sock is not None:
                self._connection.sock.settimeout(self._timeout + seconds + (_GRACE if seconds else 0.0))
            self._connection.request(
                "POST", path, json.dumps(body or {}).encode(), {"Content-Type": "application/json"}
            )
            answer = self._connection.getresponse()
            text = answer.read().decode(errors="replace")
        except (OSError, http.client.HTTPException) as error:
            raise self._lose(error) from None
        found = _json(text)
        if answer.status != 200:
            raise PoolerError(f"{self.url}: POST {path}: {answer.status}: {found.get('error') or text.strip()}")
        return found

    def _lose(self, error: Exception) -> PoolerError:
        self._connection.close()
        words = (error.strerror if isinstance(error, OSError) else "") or str(error) or type(error).__name__
        self.lost = f"{self.url}: {words}"
        return PoolerError(self.lost)


class Agents:
    """All of them: each order goes to all at once, and is over when all have answered.

    Raises PoolerError with the words of all that failed. Use it as a context: it ends the connections.
    """

    def __init__(self, agents: Sequence[Agent]) -> None:
        self._all = tuple(agents)
        self._held: list[Agent] = []
        self._watched: list[Agent] = []
        # A thread of its own for each: an error that OpenSSL remembers in a thread is taken for one of the next
        # connection that is used in it.
        self._threads = {agent: ThreadPoolExecutor(1) for agent in self._all}
        self.felt: dict[str, Canary] = {}
        """What each host's client has felt, by the agent's URL, as far as they have been stopped."""

    def __enter__(self) -> Self:
        try:
            self._each(self._all, Agent.connect)
        except PoolerError:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        for agent, thread in self._threads.items():
            thread.shutdown()
            agent.close()

    def hold(self, seconds: float) -> None:
        """From here on the agents follow nobody, for so long, or until they are released."""

        def hold(agent: Agent) -> None:
            agent.hold(seconds)
            self._held.append(agent)

        self._each(self._all, hold)

    def pause(self) -> None:
        """No transaction begins any more."""
        self._each(self._held, Agent.pause)

    def point(self, server: Server, seconds: float = 0.0) -> None:
        """With `seconds` wait, so long at most, until the transactions are over that a pause has found under way."""
        self._each(self._held, lambda agent: agent.point(server, seconds))

    def resume(self) -> None:
        self._each(self._held, Agent.resume)

    def release(self) -> None:
        """Only those that we hold: who holds another one is to be left alone."""

        def release(agent: Agent) -> None:
            agent.release()
            self._held.remove(agent)

        self._each(tuple(self._held), release)

    def start_canaries(self) -> None:
        def start(agent: Agent) -> None:
            agent.start_canary()
            self._watched.append(agent)

        self._each(self._held, start)

    def stop_canaries(self) -> None:
        def stop(agent: Agent) -> None:
            self._watched.remove(agent)
            self.felt[agent.url] = agent.stop_canary()

        self._each(tuple(self._watched), stop)

    def _each(self, agents: Sequence[Agent], order: Callable[[Agent], None]) -> None:
        failed = []
        # One whose connection was lost undoes by itself, and its loss has been told.
        there = [agent for agent in agents if not agent.lost]
        for future in [self._threads[agent].submit(order, agent) for agent in there]:
            try:
                future.result()
            except PoolerError as error:
                failed.append(str(error))
        if failed:
            raise PoolerError("; ".join(failed))


def _json(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text or "{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
