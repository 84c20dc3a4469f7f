"""What has happened since the agent was started, to be told as counters."""

from __future__ import annotations

import time
from collections import Counter
from typing import Literal

from .decide import Reason

Cause = Literal["order", "following"]


class Counts:
    """`reloads` and `failed_reloads` by instance; `leader_since`, at first the agent's start, since the epoch."""

    def __init__(self) -> None:
        self.leader_since = time.time()
        self.leader_changes = Counter[Cause]()
        self.reloads = Counter[int]()
        self.failed_reloads = Counter[int]()
        self.pauses = Counter[Reason]()
        self._paused: dict[Reason, float] = {"loss": 0.0, "switchover": 0.0}
        self._pause: tuple[Reason, float] | None = None

    def led(self, cause: Cause) -> None:
        """There is another leader."""
        self.leader_changes[cause] += 1
        self.leader_since = time.time()

    def paused(self, reason: Reason) -> None:
        """The agent makes a pause; one that is under way ends."""
        self.resumed()
        self.pauses[reason] += 1
        self._pause = (reason, time.monotonic())

    def resumed(self) -> None:
        """No pause of the agent is in force any more."""
        if self._pause:
            reason, since = self._pause
            self._paused[reason] += time.monotonic() - since
            self._pause = None

    def paused_seconds(self, reason: Reason) -> float:
        """In all, the pause that is under way included."""
        under_way = time.monotonic() - self._pause[1] if self._pause and self._pause[0] == reason else 0.0
        return self._paused[reason] + under_way
