"""What rows may use: the fleet, a load on its pool, and one client in a transaction that does not end."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from pooler.drill.book import Stream
from pooler.drill.report import Report
from pooler.drill.settings import Settings
from tests.core_dumps import could_dump
from tests.drills.figures import Figure
from tests.drills.fleet import Fleet, Play
from tests.drills.under_load import Mark, under_load
from tests.secret_search import search

DATABASES = ("db1", "db2", "db3")
POOLER = "pool1"
HOSTS = (*DATABASES, POOLER)
DETAILS = Path("build/drills/secrets")
CONSOLES = (50001, 50002)

WAIT = 60
"""Seconds until everybody goes by a new file, on a busy machine."""

_Found = TypeVar("_Found")


def asked(what: Callable[[], _Found], enough: Callable[[_Found], bool]) -> _Found:
    """What was found last. Asked again and again, as fast as there are answers, until it is enough or WAIT is over."""
    until = time.monotonic() + WAIT
    while not enough(found := what()) and time.monotonic() < until:
        pass
    return found


@dataclass(frozen=True)
class Scene:
    """`wrong` is what went otherwise than it should, for the terminal; `outputs` what playbooks have printed."""

    fleet: Fleet
    wrong: list[str] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list, repr=False)

    def settings(self) -> Settings:
        """Eight clients that keep their connections, three that open a new one for every query."""
        return Settings(
            host=POOLER,
            user="app",
            database="app",
            password=self.fleet.password,
            ca=str(self.fleet.authority),
            hung_after=4,
        )

    def play(self, playbook: str, **changes: Any) -> Play:
        """A playbook that must succeed."""
        play = self.tried(playbook, **changes)
        if play.status:
            self.wrong.append(f"{playbook} with {sorted(changes)} failed: {play.output[-2000:]}")
        return play

    def tried(self, playbook: str, **changes: Any) -> Play:
        """A playbook that may fail."""
        play = self.fleet.play(playbook, changes)
        self.outputs.append(play.output)
        return play

    def felt(self, what: str, event: Callable[[Mark], None], settings: Settings | None = None) -> list[Figure]:
        """What clients feel of the event: the load's, and one whose transaction lasts from before until after it."""
        settings = settings or self.settings()
        with Long(self.fleet.paths.lab, settings) as long:
            report = under_load(self.fleet.paths.lab, settings, event)
            kept = long.end()
        self.keep(what, report)
        verdict, transactions = report.verdict, report.tallies[Stream.TRANSACTIONS]
        failed = transactions.failed + verdict.lost + verdict.doubled + verdict.unknown_committed
        new = [report.tallies[stream] for stream in (Stream.LOGINS, Stream.KNOCKS)]
        stall = max(tally.stall for tally in report.tallies.values())
        return [
            Figure(f"{what}: transactions failed or lost", failed, f"of {transactions.succeeded + failed}", 0),
            Figure(
                f"{what}: new connections failed",
                sum(tally.failed for tally in new),
                f"of {sum(tally.succeeded + tally.failed for tally in new)}",
                0,
            ),
            Figure(f"{what}: persistent connections closed", len(report.closed), "", 0),
            Figure(f"{what}: backends of the transaction that lasted throughout", len(kept), "", 1, least=1),
            Figure(f"{what}: longest stall", stall, "s"),
        ]

    def found(self, what: str, words: set[str], may: tuple[str, ...] = ()) -> list[Figure]:
        """Secrets where none of them is to be, after what has happened; files whose names end with `may` have them.

        On the hosts; in what playbooks of this row have printed; and in a file, if a process wrote its memory there.
        """
        places = {place for place in self.places(words) if not place.endswith(may)}
        self.wrong.extend(f"a secret is in {place}" for place in sorted(places))
        told = sum(any(word in output for word in words) for output in self.outputs)
        could = {f"{host}: {name}" for host in HOSTS for name in could_dump(self._sh(host))}
        self.wrong.extend(f"{name} may write a core dump" for name in sorted(could))
        return [
            Figure(f"{what}: places with a secret on the hosts", len(places), f"({len(words)} sought)", 0),
            Figure(f"{what}: plays that tell a secret", told, f"of {len(self.outputs)}", 0),
            Figure(f"{what}: processes that may write a core dump", len(could), "", 0),
        ]

    def places(self, words: set[str]) -> set[str]:
        """Where on the hosts any of the words is."""
        return {f"{host}: {place}" for host in HOSTS for place in search(self._sh(host), words)}

    def psql(self, host: str, query: str) -> str:
        """What PostgreSQL on a database host answers."""
        return self.fleet.sh(host, f'podman exec spilo psql -XAtq -U postgres -d postgres -c "{query}"').strip()

    def console(self, command: str) -> list[dict[str, str]]:
        """The rows of all instances."""
        asked = (
            f"podman exec pgbouncer-{each} psql -Xq --csv -h /run/pgbouncer/{each} -p 6432 -U pgbouncer -d pgbouncer "
            f"-c '{command}'\n"
            for each in CONSOLES
        )
        return [row for each in asked for row in csv.DictReader(self.fleet.sh(POOLER, each).splitlines())]

    def _sh(self, host: str) -> Callable[[str], str]:
        return lambda script: self.fleet.sh(host, script)

    def went_wrong(self, what: str) -> Figure:
        """The last figure of a row: what went otherwise than it should is on the terminal."""
        for wrong in self.wrong:
            print(f"  {wrong}", file=sys.stderr, flush=True)
        count = len(self.wrong)
        self.wrong.clear()
        self.outputs.clear()
        return Figure(f"{what}: things that went otherwise than they should", count, "", 0)

    def keep(self, what: str, report: Report) -> None:
        """What clients felt, in a file."""
        DETAILS.mkdir(parents=True, exist_ok=True)
        name = "".join(letter if letter.isalnum() else "-" for letter in what)
        (DETAILS / f"{name}.json").write_text(report.to_json() + "\n", encoding="utf-8")


Row = Callable[[Scene], list[Figure]]


class Long:
    """One client in the lab's network, in a transaction, asking every half second which backend serves it."""

    def __init__(self, lab: str, settings: Settings) -> None:
        command = [sys.executable, "-m", "tests.lab", "netns", lab, "--"]
        command += [sys.executable, "-m", "tests.drills.secrets.long_transaction"]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdin
        self._process.stdin.write(json.dumps(asdict(settings)) + "\n")
        self._process.stdin.flush()

    def __enter__(self) -> Long:
        assert self._process.stdout
        if not self._process.stdout.readline():
            raise SystemExit("the long transaction could not begin")
        return self

    def __exit__(self, *_error: object) -> None:
        self._process.communicate()

    def end(self) -> set[int]:
        """Commit. The backends that have served it: one, or none at all when it has failed."""
        told, _errors = self._process.communicate()
        return set(json.loads(told or "[]"))
