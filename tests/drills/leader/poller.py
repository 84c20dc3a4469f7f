"""The script of the design `poller`: each second it asks Patroni who leads, rewrites the host, and reloads the engine.

Runs in the lab's network, as long as its standard input is open.
"""

from __future__ import annotations

import http.client
import json
import os
import signal
import ssl
import sys
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from .peers import POLLER, hosts_file

EACH = 1.0


def main() -> None:
    told = json.loads(sys.stdin.readline())
    threading.Thread(
        target=_poll, args=(told["servers"].values(), Path(told["file"]), told["engine"]), daemon=True
    ).start()
    sys.stdin.read()


def _poll(addresses: Iterable[str], file: Path, engine: int) -> None:
    pause = threading.Event()
    while True:
        wanted = _wanted(addresses)
        if wanted and wanted != file.read_text():
            new = file.with_suffix(".new")
            new.write_text(wanted)
            new.replace(file)
            os.kill(engine, signal.SIGHUP)
        pause.wait(EACH)


def _wanted(addresses: Iterable[str]) -> str | None:
    """The file as the first member that answers would have it."""
    for address in addresses:
        try:
            members = _cluster(address)["members"]
        except (OSError, http.client.HTTPException, ValueError, KeyError):
            continue
        leaders = [_host(each) for each in members if each["role"] == "leader" and each["state"] == "running"]
        replicas = [_host(each) for each in members if each["role"] != "leader" and each["state"] == "streaming"]
        if leaders:
            return hosts_file(POLLER, leaders[0], 5432, sorted(replicas or leaders)[0], 5432)
    return None


def _host(member: Mapping[str, Any]) -> str:
    return str(member["host"])


def _cluster(address: str) -> Any:
    tls = ssl._create_unverified_context()  # as such scripts do
    connection = http.client.HTTPSConnection(address, 8008, timeout=2, context=tls)
    try:
        connection.request("GET", "/cluster")
        return json.loads(connection.getresponse().read())
    finally:
        connection.close()


if __name__ == "__main__":
    main()
