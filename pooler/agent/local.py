"""A connection to a unix socket on asyncio, without its streams: for one of a moment they cost four times as much."""

from __future__ import annotations

import asyncio
import socket


class Local:
    """What a stream's reader and writer do, as much of it as is needed. Raises OSError."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.setblocking(False)
        self._unsent = b""
        self._closing = False

    async def connect(self, path: str) -> None:
        await self._loop.sock_connect(self._socket, path)

    async def read(self, size: int) -> bytes:
        """What there is, at most so many bytes; nothing when the other side has hung up."""
        return await self._loop.sock_recv(self._socket, size)

    def write(self, data: bytes) -> None:
        """Does not wait. That the other side has hung up is told by `read`, after what it has said before."""
        if self._unsent:
            self._unsent += data
            return
        self._unsent = self._left(data)
        if self._unsent:
            self._loop.add_writer(self._socket, self._send_more)

    def close(self) -> None:
        """At once, but for what was written and not sent yet."""
        self._closing = True
        if not self._unsent:
            self._socket.close()

    def _send_more(self) -> None:
        self._unsent = self._left(self._unsent)
        if not self._unsent:
            self._loop.remove_writer(self._socket)
            if self._closing:
                self._socket.close()

    def _left(self, data: bytes) -> bytes:
        """What the other side has no room for yet."""
        try:
            return data[self._socket.send(data) :]
        except BlockingIOError:
            return data
        except OSError:
            return b""
