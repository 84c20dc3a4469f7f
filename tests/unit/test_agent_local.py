"""Connections to unix sockets without streams: nothing that was written is lost, and nothing is left behind."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import pytest

from pooler.agent.local import Local

LONG = bytes(range(256)) * (1 << 14)


def test_what_was_written_before_the_close_arrives_however_long_it_is(tmp_path: Path) -> None:
    async def run() -> bytes:
        arrived = asyncio.get_running_loop().create_future()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            arrived.set_result(await reader.read())
            writer.close()

        async with await asyncio.start_unix_server(serve, tmp_path / "s"):
            connection = Local()
            await connection.connect(str(tmp_path / "s"))
            connection.write(LONG)
            connection.write(b"the end")
            connection.close()
            return bytes(await asyncio.wait_for(arrived, 30))

    assert asyncio.run(run()) == LONG + b"the end"


def test_what_was_said_before_hanging_up_is_read_although_nobody_takes_what_is_written(tmp_path: Path) -> None:
    async def run() -> list[bytes]:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(str(tmp_path / "s"))
            server.listen()
            connection = Local()
            await connection.connect(str(tmp_path / "s"))
            other, _address = server.accept()
            other.sendall(b"good-bye")
            other.close()
            connection.write(b"anything")
            said = [await connection.read(100), await connection.read(100)]
            connection.close()
            return said

    assert asyncio.run(run()) == [b"good-bye", b""]


def test_a_connection_that_was_given_up_does_not_deafen_the_next_one(tmp_path: Path) -> None:
    """It has the same descriptor."""

    async def run() -> bytes:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(str(tmp_path / "s"))
            server.listen()
            for _time in range(3):
                silent = Local()
                await silent.connect(str(tmp_path / "s"))
                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(0.01):
                        await silent.read(1)
                silent.close()
                server.accept()[0].close()
            connection = Local()
            await connection.connect(str(tmp_path / "s"))
            other, _address = server.accept()
            asyncio.get_running_loop().call_later(0.01, other.sendall, b"heard")
            try:
                return await asyncio.wait_for(connection.read(100), 30)
            finally:
                connection.close()
                other.close()

    assert asyncio.run(run()) == b"heard"
