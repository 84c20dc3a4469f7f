"""Several loads at once, as processes in the lab's network: what each design's clients feel of the very same event."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict

from pooler.drill.report import Report
from pooler.drill.settings import Settings

from .priority import stand_back


class Loads:
    """By name of the design. All are warm when it is made. Those `behind` stand back for the others."""

    def __init__(self, lab: str, settings: Mapping[str, Settings], behind: Collection[str] = ()) -> None:
        self._stack = contextlib.ExitStack()
        with contextlib.ExitStack() as undo:
            undo.push(self._stack)
            self._processes = {name: self._start(lab, each, name in behind) for name, each in settings.items()}
            for name, process in self._processes.items():
                if not _line(process):
                    raise SystemExit(f"the load on {name} could not begin")
            undo.pop_all()

    def mark(self, what: str) -> None:
        self._tell(f"mark {what}")

    def again(self) -> dict[str, bool]:
        """Whether every client has had a success since, after waiting for that as long as warming up may take."""
        self._tell("again")
        return {name: json.loads(_line(process))["again"] for name, process in self._processes.items()}

    def end(self) -> dict[str, Report]:
        """Stop them and read their reports. Raises SystemExit when one has none."""
        for process in self._processes.values():
            assert process.stdin
            process.stdin.close()
        reports = {name: _line(process) for name, process in self._processes.items()}
        self._stack.close()
        if silent := [name for name, report in reports.items() if not report]:
            raise SystemExit(f"the load on {', '.join(silent)} has ended without a report")
        return {name: Report.from_json(report) for name, report in reports.items()}

    def _start(self, lab: str, settings: Settings, behind: bool) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "tests.lab", "netns", lab, "--", sys.executable, "-m", "pooler.drill"]
        # Sessions share the processors equally (sched_autogroup): clients of one design that storm slow no other's.
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
            preexec_fn=stand_back if behind else None,
        )
        self._stack.enter_context(process)
        self._stack.callback(_close, process)
        assert process.stdin
        process.stdin.write(json.dumps(asdict(settings)) + "\n")
        process.stdin.flush()
        return process

    def _tell(self, line: str) -> None:
        for process in self._processes.values():
            assert process.stdin
            process.stdin.write(line + "\n")
            process.stdin.flush()

    def abandon(self) -> None:
        self._stack.close()


@contextlib.contextmanager
def loads(lab: str, settings: Mapping[str, Settings], behind: Collection[str] = ()) -> Iterator[Loads]:
    """None of them outlives the block."""
    running = Loads(lab, settings, behind)
    try:
        yield running
    finally:
        running.abandon()


def _close(process: subprocess.Popen[str]) -> None:
    assert process.stdin
    process.stdin.close()


def _line(process: subprocess.Popen[str]) -> str:
    assert process.stdout
    return process.stdout.readline()
