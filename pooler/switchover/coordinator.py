"""Patroni is given an order while the clients of every pooler host wait between transactions.

The order of the steps is what loses nothing: all hosts are paused before Patroni is told, and by then their hosts files
name the new leader; they go on only when that one takes writes by its own words over SQL, since Patroni's REST says so
some tenths of a second too early. PAUSE has closed every server connection, so nothing has to be reconnected.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Event
from typing import Any

from .. import patroni
from ..agent.config import AgentConfig
from ..errors import InvalidError, PoolerError, Problem
from ..patroni import Member
from ..server import Server
from . import preconditions
from .agents import Agent, Agents
from .change import SEARCH, Change
from .patroni_rest import Order, Rest
from .pipeline import Step, StepError, Taken, run
from .preconditions import Activity
from .report import Report
from .sql import Database

_CATCH_UP = 2.0
"""Seconds in which the candidate must have replayed what the leader had written: else it would do so in the pause."""

_LOOK = 0.05
"""Seconds between two looks at transactions."""

_LEAST = 0.1
"""Seconds for the last transactions to end, however long it took to begin the pause."""

_WARM, _WARMERS = 100, 8
"""The most databases that are entered beforehand, and how many at once."""


@dataclass(frozen=True)
class Limits:
    """In seconds. `stall` counts from the beginning of the pause, `transaction` is the age of the oldest allowed."""

    pause: float = 5.0
    stall: float = 10.0
    transaction: float = 5.0

    @property
    def lease(self) -> float:
        """After so long an agent takes a coordinator for dead although its connection stands."""
        return self.pause + self.stall + SEARCH + 30.0


def steps(
    agents: Agents,
    change: Change,
    limits: Limits,
    prepare: Sequence[Step],
    clock: Callable[[], float] = time.monotonic,
) -> tuple[Step, ...]:
    """What is done, after what is prepared. It can be stopped until Patroni has its order; from then on only the way
    ahead is short.
    """
    paused_at = [0.0]

    def pause() -> None:
        paused_at[0] = clock()
        agents.pause()

    def point() -> None:
        agents.point(change.after, max(_LEAST, paused_at[0] + limits.pause - clock()))

    before = [
        *prepare,
        Step("hold", lambda: agents.hold(limits.lease), agents.release),
        Step("canary", agents.start_canaries, agents.stop_canaries),
        Step("pause", pause, agents.resume),
        # While the last transactions end, so that it is no wait for anybody. Also where it is the old one: an agent
        # that was pointed somewhere takes its silence for no loss.
        Step("point", point, lambda: agents.point(change.leader())),
        Step(change.name, lambda: change.give(paused_at[0] + limits.stall)),
    ]
    return (
        *(replace(step, stoppable=True) for step in before),
        Step("resume", agents.resume),
        Step("canary stop", agents.stop_canaries),
        Step("release", agents.release),
    )


@dataclass
class Coordinator:
    """One run. `agents` are the URLs of all pooler hosts' agents; with `check` it ends before anybody notices.

    `databases` are those of PostgreSQL which clients reach through the poolers. `told` hears of each step; `stop`, when
    set, ends the run early.
    """

    agents: tuple[str, ...]
    config: AgentConfig
    databases: tuple[str, ...]
    limits: Limits
    told: Callable[[Taken], None]
    check: bool = False
    stop: Event = field(default_factory=Event)
    _report: Report = field(default_factory=Report, init=False)

    def switchover(self, candidate: str | None = None) -> Report:
        """Make the named member the leader, or the one that lags least. What fails is in the report."""
        return self._reported(lambda stack: self._switchover(stack, candidate))

    def restart(self) -> Report:
        """Restart PostgreSQL where it leads. What fails is in the report."""
        return self._reported(self._restart)

    def _reported(self, work: Callable[[ExitStack], None]) -> Report:
        try:
            with ExitStack() as stack:
                work(stack)
        except StepError as error:
            self._found(steps=error.taken, error=str(error))
        except PoolerError as error:
            self._found(error=str(error))
        return self._report.judged(self.limits.stall)

    def _switchover(self, stack: ExitStack, name: str | None) -> None:
        agents, members = self._agents(stack), rest(self.config)
        cluster = members.cluster()
        leader = preconditions.leader(cluster)
        candidate = preconditions.candidate(cluster, name, synchronous=members.synchronous())
        self._found(leader=leader.name, candidate=candidate.name)
        old, new = self._leading(stack, leader), self._database(stack, candidate.server)
        _caught_up(old, new, candidate)
        order = members.order(
            members.url(leader), "/switchover", {"leader": leader.name, "candidate": candidate.name}, self.limits.lease
        )
        stack.callback(order.close)
        prepare = (self._checkpoint(old), Step("warm-up", lambda: self._warm_up(new.server)))
        self._carry_out(agents, members, prepare, order, old, new.server, lambda: new.state() == "writable")

    def _restart(self, stack: ExitStack) -> None:
        agents, members = self._agents(stack), rest(self.config)
        leader = preconditions.leader(members.cluster())
        self._found(leader=leader.name)
        old = self._leading(stack, leader)
        began = old.started()
        order = members.order(members.url(leader), "/restart", {"role": "primary"}, self.limits.lease)
        stack.callback(order.close)

        def again() -> bool:
            return old.started() not in ("", began) and old.state() == "writable"

        self._carry_out(agents, members, (self._checkpoint(old),), order, old, old.server, again)

    def _carry_out(
        self,
        agents: Agents,
        members: Rest,
        prepare: Sequence[Step],
        order: Order,
        old: Database,
        after: Server,
        reached: Callable[[], bool],
    ) -> None:
        if self.check:
            return
        change = Change(
            "switchover" if self._report.candidate else "restart",
            order,
            before=old.server,
            after=after,
            reached=reached,
            still=lambda: old.state() == "writable",
            elsewhere=lambda: self._elsewhere(replace(members, timeout=1.0)),
        )
        try:
            todo = steps(agents, change, self.limits, prepare)
            self._found(steps=run(todo, self.told, self.stop.is_set))
        finally:
            self._found(hosts=dict(agents.felt), changed=order.sent and not order.refused, patroni=change.took)

    def _agents(self, stack: ExitStack) -> Agents:
        if not self.agents:
            raise InvalidError([Problem("agents", "none is given", "all pooler hosts' agents have to be told to wait")])
        tls = _tls(self.config)
        return stack.enter_context(Agents([Agent(url, tls) for url in self.agents]))

    def _database(self, stack: ExitStack, server: Server) -> Database:
        application = "pooler-switchover" if self._report.candidate else "pooler-restart"
        database = Database(server, self.config, application)
        stack.callback(database.close)
        return database

    def _leading(self, stack: ExitStack, leader: Member) -> Database:
        """The connection to the leader, which must take writes and run no old transaction."""
        database = self._database(stack, leader.server)
        first, began = database.activity(), time.monotonic()
        if database.state() != "writable":
            raise InvalidError([Problem("leader", f"{leader.name} leads by Patroni's words, but takes no writes")])
        preconditions.transactions(first, self.limits.transaction)
        if self.limits.transaction <= self.limits.pause:
            self._watch(database, first, began)
        return database

    def _watch(self, database: Database, first: Activity, began: float) -> None:
        """How old a transaction is that we may not look at shows in how long it goes on: most end at once."""
        activity = first
        while any(number in first.hidden for number in activity.hidden):
            time.sleep(_LOOK)
            activity = database.activity()
            lasting = preconditions.lasting(first, activity, time.monotonic() - began)
            preconditions.transactions(lasting, self.limits.transaction)

    def _checkpoint(self, old: Database) -> Step:
        """Patroni orders one in the pause; there is less left for it to write when there has just been one."""

        def checkpoint() -> None:
            if not old.checkpoint():
                role = self.config.role
                self._note(f"{role} may not order a checkpoint beforehand; a superuser may, when much is dirty")

        return Step("checkpoint", checkpoint)

    def _warm_up(self, candidate: Server) -> None:
        """A server's first session in a database gathers the catalogue that all later ones begin with.

        Clients would wait for it. A database that our role may not enter is left as it is.
        """

        def enter(dbname: str) -> None:
            with closing(Database(candidate, self.config, "pooler-warm-up", dbname)) as database:
                database.state()

        with ThreadPoolExecutor(_WARMERS) as threads:
            list(threads.map(enter, self.databases[:_WARM]))

    def _elsewhere(self, members: Rest) -> Server | None:
        with ExitStack() as stack:
            try:
                leader = preconditions.leader(members.cluster())
            except PoolerError:
                return None
            return leader.server if self._database(stack, leader.server).state() == "writable" else None

    def _note(self, what: str) -> None:
        self._found(notes=(*self._report.notes, what))

    def _found(self, **values: Any) -> None:
        self._report = replace(self._report, **values)


def rest(config: AgentConfig) -> Rest:
    """Patroni's members, asked with the agent's leaf, and its password where it has one.

    Raises InvalidError when none is known.
    """
    if not config.patroni:
        remedy = "an agent whose databases have a fixed server follows nobody: for such poolers ask Patroni itself"
        raise InvalidError([Problem("patroni", "no member's URL is known", remedy)])
    return Rest(
        tuple(url.rstrip("/") for url in config.patroni), _tls(config), config.patroni_user, config.patroni_password
    )


def _tls(config: AgentConfig) -> ssl.SSLContext:
    leaf = Path(config.client_leaf)
    return patroni.context(str(leaf / "ca.crt"), str(leaf / "tls.crt"), str(leaf / "tls.key"))


def _caught_up(old: Database, new: Database, candidate: Member) -> None:
    """Raises InvalidError when the candidate needs longer than _CATCH_UP to replay what the leader has written."""
    position, limit = old.written(), time.monotonic() + _CATCH_UP
    if new.state() != "recovery":
        new.replayed(position)  # says what is wrong with a silent one
        raise InvalidError([Problem("candidate", f"{candidate.name} takes writes already")])
    while not new.replayed(position):
        if time.monotonic() >= limit:
            what = f"{candidate.name} has not replayed in {_CATCH_UP:g} s what the leader had written"
            raise InvalidError([Problem("candidate", what, "wait until it has caught up")])
        time.sleep(0.05)
