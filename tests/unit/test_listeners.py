"""A port is taken away from a process that holds a copy of its socket; the test is its own process."""

from __future__ import annotations

import os
import socket

import pytest

from pooler import listeners


def test_all_holders_stop_listening_on_the_port_and_on_no_other() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, socket.create_server(("127.0.0.1", 0)) as left:
        copy = taken.dup()
        assert listeners.release(os.getpid(), taken.getsockname()[1]) == 1
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(taken.getsockname(), timeout=5)
        socket.create_connection(left.getsockname(), timeout=5).close()
        copy.close()
