"""What the database servers and Patroni do during a run, second by second, seen from outside the poolers."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from .members import Members

Cluster = dict[str, tuple[str, str]]
"""Member to role and state, as Patroni calls them."""


@dataclass(frozen=True)
class Change:
    """A server began to be `writable`, `read-only` or `down`. `at` is in seconds since the epoch."""

    at: float
    member: str
    state: str


class Watch:
    """The watcher as a process in the lab's network."""

    def __init__(self, lab: str, members: Members) -> None:
        self.members = members
        self.changes: list[Change] = []
        self.acknowledged: list[tuple[float, str]] = []
        """When each member's first commit was acknowledged after it began to take writes."""
        self.cluster: Cluster = {}
        self.posted: float | None = None
        self.answered: str | None = None
        self._news = threading.Condition()
        command = [sys.executable, "-m", "tests.lab", "netns", lab, "--"]
        command += [sys.executable, "-m", "tests.drills.leader.watcher"]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._tell(json.dumps(asdict(members)))
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def close(self) -> None:
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait()
        self._reader.join()

    def until(self, what: str, reached: Callable[[Watch], bool], seconds: float = 120) -> None:
        """Wait for what can be seen from here. Raises SystemExit, saying how things are, when it does not happen."""
        with self._news:
            if not self._news.wait_for(lambda: reached(self), seconds):
                raise SystemExit(f"{what}: not within {seconds:.0f} s; {self.states}, {self.cluster}")

    def switch_over(self, old: str, new: str) -> None:
        """Ask Patroni's REST for a switchover, and wait for its answer and the new leader. Raises SystemExit."""
        self.posted = self.answered = None
        self._tell(f"switchover {old} {new}")
        self.until("Patroni's answer to the switchover", lambda watch: watch.answered is not None)
        if not (self.answered or "").startswith("200 "):
            raise SystemExit(f"switchover: {self.answered}")

    @property
    def states(self) -> dict[str, str]:
        return {change.member: change.state for change in self.changes}

    @property
    def leader(self) -> str:
        """Raises SystemExit when there is not one."""
        leaders = self.in_role("leader")
        if len(leaders) != 1:
            raise SystemExit(f"there is no leader: {self.cluster}")
        return leaders[0]

    def in_role(self, role: str) -> list[str]:
        return sorted(name for name, (its, _state) in self.cluster.items() if its == role)

    def whole(self) -> bool:
        """A leader that takes writes, a synchronous standby, and everybody streaming."""
        states = self.states
        return (
            {*self.cluster} == {*self.members.addresses}
            and len(self.in_role("leader")) == 1
            and states.get(self.leader) == "writable"
            and len(self.in_role("sync_standby")) >= 1
            and all(
                role == "leader" or (state == "streaming" and states.get(name) == "read-only")
                for name, (role, state) in self.cluster.items()
            )
        )

    def _tell(self, line: str) -> None:
        assert self._process.stdin
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()

    def _read(self) -> None:
        assert self._process.stdout
        for line in self._process.stdout:
            said: dict[str, Any] = json.loads(line)
            with self._news:
                if "member" in said:
                    self.changes.append(Change(**said))
                elif "acknowledged" in said:
                    self.acknowledged.append((said["at"], said["acknowledged"]))
                elif "cluster" in said:
                    self.cluster = {name: (role, state) for name, (role, state) in said["cluster"].items()}
                elif "posted" in said:
                    self.posted = said["posted"]
                else:
                    self.answered = said["answered"]
                self._news.notify_all()


def writable_since(changes: Sequence[Change], at: float) -> Change | None:
    """The first server that began to take writes after `at`."""
    return next((change for change in changes if change.at >= at and change.state == "writable"), None)


def longest_without(changes: Sequence[Change], since: float, until: float | None = None) -> float:
    """The longest time, in seconds, in which no server took writes."""
    until = time.time() if until is None else until
    states: dict[str, str] = {}
    longest, lost = 0.0, None
    for change in [*changes, Change(until, "", "writable")]:
        at = min(max(change.at, since), until)
        states[change.member] = change.state
        if "writable" in states.values():
            longest, lost = max(longest, 0.0 if lost is None else at - lost), None
        elif lost is None:
            lost = at
    return longest


def together(changes: Sequence[Change], since: float, until: float | None = None) -> float:
    """For how long, in seconds, more than one server said that it takes writes."""
    until = time.time() if until is None else until
    states: dict[str, str] = {}
    total, began = 0.0, None
    for change in [*changes, Change(until, "", "down")]:
        at = min(max(change.at, since), until)
        states[change.member] = change.state
        if list(states.values()).count("writable") > 1:
            began = at if began is None else began
        elif began is not None:
            total, began = total + at - began, None
    return total if began is None else total + until - began
