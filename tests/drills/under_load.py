"""The load as a process in the lab's network, while the drill does something to the hosts."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict

from pooler.drill.report import Report
from pooler.drill.settings import Settings


class Mark:
    """What an event may tell the load."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell

    def __call__(self, what: str) -> None:
        self._tell(f"mark {what}")

    def become(self, user: str, password: str) -> None:
        """Clients log in as another user from now on, and those with a connection come back with it."""
        self._tell(f"become {json.dumps({'user': user, 'password': password})}")


def under_load(lab: str, settings: Settings, event: Callable[[Mark], None]) -> Report:
    """What clients felt from just before `event` until just after it; what it marks is in the report.

    Raises SystemExit when the load cannot run.
    """
    command = [sys.executable, "-m", "tests.lab", "netns", lab, "--", sys.executable, "-m", "pooler.drill"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin
        assert process.stdout
        say = process.stdin

        def tell(line: str) -> None:
            say.write(line + "\n")
            say.flush()

        tell(json.dumps(asdict(settings)))
        if not process.stdout.readline():
            raise SystemExit("the load could not begin")
        try:
            event(Mark(tell))
        finally:
            say.close()
        report = process.stdout.readline()
    if not report:
        raise SystemExit("the load has ended without a report")
    return Report.from_json(report)
