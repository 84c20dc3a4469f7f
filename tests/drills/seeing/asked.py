"""Prometheus on the monitoring host, which listens on its loopback alone.

As a program, run in that host's network: PromQL as a JSON list on standard input, answers as one on standard output.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass

from tests.lab import network

_PROMETHEUS = "http://127.0.0.1:9090/api/v1/query"
_ALERTS = "http://127.0.0.1:9093/api/v2/alerts?active=true"
ALERTMANAGER = "alertmanager: "
"""Before the name of an alert: whether Alertmanager has been told of it."""
_PAUSE = 2.0


@dataclass(frozen=True)
class Sample:
    labels: dict[str, str]
    value: float


@dataclass(frozen=True)
class Monitoring:
    lab: str
    host: str

    def ask(self, queries: Sequence[str]) -> list[list[Sample]]:
        """What each query answers now. Raises SystemExit when Prometheus does not take one."""
        namespace = network.host_namespace(self.lab, self.host)
        command = ["ip", "netns", "exec", namespace, sys.executable, "-m", "tests.drills.seeing.asked"]
        done = subprocess.run(command, input=json.dumps(queries), capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"Prometheus: {done.stderr[-1000:]}")
        return [[Sample(labels, value) for labels, value in answer] for answer in json.loads(done.stdout)]

    def until(self, query: str, *, answers: bool, seconds: float) -> float | None:
        """Seconds until the query has an answer, or none any more; None when that does not come."""
        began = time.monotonic()
        while time.monotonic() - began < seconds:
            if bool(self.ask([query])[0]) == answers:
                return time.monotonic() - began
            time.sleep(_PAUSE)
        return None


def _answer(query: str) -> list[tuple[dict[str, str], float]]:
    if query.startswith(ALERTMANAGER):
        name = query.removeprefix(ALERTMANAGER)
        with urllib.request.urlopen(_ALERTS, timeout=30) as answer:
            return [(alert["labels"], 1.0) for alert in json.load(answer) if alert["labels"]["alertname"] == name]
    with urllib.request.urlopen(f"{_PROMETHEUS}?{urllib.parse.urlencode({'query': query})}", timeout=30) as answer:
        return [(each["metric"], float(each["value"][1])) for each in json.load(answer)["data"]["result"]]


if __name__ == "__main__":
    print(json.dumps([_answer(query) for query in json.load(sys.stdin)]))
