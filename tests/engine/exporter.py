"""Debian's prometheus-pgbouncer-exporter beside an instance, and what it and the agent tell."""

from __future__ import annotations

import http.client
from collections.abc import Mapping

from prometheus_client.parser import text_string_to_metric_families

from tests.engine.pair import Agent, Pair
from tests.lab.images import monitoring

Series = Mapping[str, Mapping[frozenset[tuple[str, str]], float]]
"""Numbers by name and labels."""

_ADDRESS = ("127.0.0.1", 9128)
_ENTER = """
mount --bind "$1/run" "$2/run"
root=$2
shift 3
exec chroot --userspec=6432:6432 "$root" "$@"
"""


def start(two: Pair, console: int) -> None:
    """It asks the instance over its unix socket, as its own user."""
    where = f"postgres:///pgbouncer?host=/run/pgbouncer/{console}&port=6432&user=pgbouncer&sslmode=disable"
    address = f"--web.listen-address={_ADDRESS[0]}:{_ADDRESS[1]}"
    command = ["prometheus-pgbouncer-exporter", address, f"--pgBouncer.connectionString={where}"]
    two.launch(_ENTER, two.place, monitoring.root(), command).hears("Listening on")


def theirs(two: Pair) -> Series:
    return read(connect(two))


def connect(two: Pair) -> http.client.HTTPConnection:
    connection = http.client.HTTPConnection(*_ADDRESS, timeout=30)
    with two.inside():
        connection.connect()
    return connection


def ours(agent: Agent) -> Series:
    return read(agent.connect(leaf=True))


def read(connection: http.client.HTTPConnection) -> Series:
    connection.request("GET", "/metrics")
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    assert answer.status == 200, text
    found: dict[str, dict[frozenset[tuple[str, str]], float]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, {})[frozenset(sample.labels.items())] = sample.value
    return found


def types(connection: http.client.HTTPConnection) -> dict[str, str]:
    """The type of each family."""
    connection.request("GET", "/metrics")
    text = connection.getresponse().read().decode()
    connection.close()
    lines = (line.split(" ") for line in text.splitlines() if line.startswith("# TYPE "))
    return {line[2]: line[3] for line in lines}


def of_instance(series: Series, instance: str) -> Series:
    """What is told of one instance, without its label, as an exporter that knows only that one tells it."""
    label = ("instance", instance)
    return {
        name: {labels - {label}: number for labels, number in found.items() if label in labels}
        for name, found in series.items()
    }
