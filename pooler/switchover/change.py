"""An order to Patroni that takes the leader away for a while, and who takes writes during and after it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from ..errors import PoolerError
from ..server import Server

_PACE = 0.004
"""Seconds between two questions to the member that is to take writes."""

SEARCH = 10.0
"""Seconds to look for whoever leads after a failure, before clients are let go anyway."""


class Order(Protocol):
    """A request that is answered only when all is over; `refused` then has Patroni's words when it did not do it."""

    sent: bool
    refused: str

    def send(self) -> None:
        """Send it and do not wait."""


@dataclass
class Change:
    """`reached`: it is done, and `after` takes writes. `still`: `before`, which led when it began, takes writes.

    `elsewhere` is the server of whoever else leads by Patroni's words and takes writes by its own.
    """

    name: str
    order: Order
    before: Server
    after: Server
    reached: Callable[[], bool]
    still: Callable[[], bool]
    elsewhere: Callable[[], Server | None]
    clock: Callable[[], float] = time.monotonic
    wait: Callable[[float], None] = time.sleep
    took: float | None = field(default=None, init=False)
    """Seconds from the order until it was done: what Patroni and PostgreSQL need by themselves."""

    def give(self, deadline: float) -> None:
        """Give the order and wait until it is done. Raises PoolerError when Patroni refuses, or at the deadline."""
        began = self.clock()
        self.order.send()
        while not self.reached():
            if self.order.refused:
                raise PoolerError(self.order.refused)
            if self.clock() >= deadline:
                waited = self.clock() - began
                raise PoolerError(f"{self.after.host} takes no writes {waited:.1f} s after the order to Patroni")
            self.wait(_PACE)
        self.took = self.clock() - began

    def leader(self) -> Server:
        """Who takes writes now. Raises PoolerError when nobody does for SEARCH seconds.

        While Patroni has neither refused nor finished, the old leader may go down at any moment, so that it is believed
        only at the end.
        """
        if not self.order.sent:
            return self.before
        limit = self.clock() + SEARCH
        while True:
            if self.reached():
                return self.after
            if self.order.refused and self.still():
                return self.before
            found = self.elsewhere()
            if found is not None and found != self.before:
                return found
            if self.clock() >= limit:
                break
            self.wait(_PACE)
        if self.still():
            return self.before
        raise PoolerError(
            f"nobody takes writes; clients go on, and the agents follow whoever will (waited {SEARCH:g} s)"
        )
