"""Follows the leader: what is seen goes into the decision, and the decision to the hands; one turn after the other."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import time
from collections.abc import AsyncIterator
from dataclasses import replace

from ..errors import PoolerError
from ..patroni import Member
from ..server import Server
from . import journal, members
from .config import AgentConfig
from .decide import Pause, Rules, Seen, State, decide
from .hands import Hands
from .health import spelled
from .hosts import HostsFile, Pointers
from .members import Answer, Probes
from .replicas import Serving, fit, host_list, serving
from .rest import Patroni
from .rhythm import due

_OLD = 3.0
"""Intervals, and a second, after which an answer by SQL says nothing any more."""


_AGAIN = 1.0
"""Seconds after which instances that do not do as they are told are told again."""


class Follower:
    """`state` and `serving` are what is known; `trouble` is what the last turn could not do.

    While it is held (`own`) somebody else tells the hands what to do; it only sees to it that a pause ends in time.
    """

    def __init__(self, config: AgentConfig, hosts: HostsFile, hands: Hands, tls: ssl.SSLContext) -> None:
        self.state = State(leader=_first(config, hosts))
        if hands.made:
            pause = hands.made.remaining(config.pause_limit)
            self.state = replace(self.state, pause=pause).orphaned(time.monotonic())
        self.serving = Serving()
        self.trouble = ""
        self.holder: object | None = None
        self.held_until = 0.0
        self.turned = asyncio.Event()
        self.last_turn = time.monotonic()
        self._config = config
        self._hosts = hosts
        self._hands = hands
        self._rules = Rules(config.pause_on_loss, config.pause_limit)
        self._stirred = asyncio.Event()
        self._looked = False
        self._pointing: Pointers = {}
        self._pointed = 0.0
        self._acting = asyncio.Lock()
        self.probes = Probes(config, tls, self._pace, self.stir)
        self.patroni = Patroni(config.patroni, tls, lambda: self.state.lost is not None, self.stir)

    def stir(self) -> None:
        """There is something new to decide upon."""
        self._stirred.set()

    def looked(self, *, news: bool) -> None:
        """Instances have been looked at. What is as before has time until the next turn, which comes anyway."""
        self._looked = True
        if news:
            self._stirred.set()

    @contextlib.asynccontextmanager
    async def own(self) -> AsyncIterator[None]:
        """The hands are the caller's: no turn begins meanwhile."""
        async with self._acting:
            yield

    def held(self, now: float) -> bool:
        if self.holder is not None and now >= self.held_until:
            journal.say("the hold has run out")
            self.let_go()
        return self.holder is not None

    def paused(self, pause: Pause) -> None:
        self.state = replace(self.state, pause=pause)

    def resumed(self) -> None:
        self.state = replace(self.state, pause=None)

    def let_go(self) -> None:
        """Nobody holds it any more. What was heard of servers before may be old: they are all asked anew."""
        self.holder = None
        self.state = self.state.orphaned(time.monotonic())
        self.probes.keep(())
        self.patroni.ask_now()
        self.stir()

    def pointed(self, server: Server) -> None:
        """By order: followed until something else is seen. That it takes no writes yet is no loss."""
        if server != self.state.leader:
            self._hands.counts.led("order")
        self.state = replace(self.state, leader=server, confirmed=False, lost=None)

    async def run(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                now = time.monotonic()
                async with asyncio.timeout(due(now, self._config.interval) - now):
                    await self._stirred.wait()
            self._stirred.clear()
            async with self._acting:
                try:
                    await self._turn()
                    self.trouble = ""
                except PoolerError as error:
                    self.trouble = str(error)
                    journal.trouble(self.trouble)
            self.last_turn = time.monotonic()
            self.turned.set()

    async def _turn(self) -> None:
        now = time.monotonic()
        if self.held(now):
            if self.state.pause and now >= self.state.pause.until:
                self.resumed()
                await self._hands.resume()
                journal.say("RESUME: the pause for a switchover has lasted as long as it may")
            elif self._take_looked():
                await self._hands.tend({})
            return
        self._watch()
        seen = self._seen(now)
        before = self.state
        decision = decide(before, seen, self._rules)
        self.state = decision.state
        if decision.pause:
            # Before anything else: each millisecond more is a client more that gets an error.
            await self._pause()
        self._tell(before, decision.state)
        pointers = self._pointers(decision.state.leader if seen.writable(decision.state.leader) else None, now)
        tried = self._pointing == pointers and now - self._pointed < _AGAIN
        if pointers and not tried and not self._hands.settled(pointers):
            self._pointing, self._pointed = pointers, now
            for wrong in await self._hands.point(pointers):
                journal.trouble(wrong)
            # Whether it is time to resume is decided by what is seen now.
            self.stir()
        if decision.resume:
            for wrong in await self._hands.resume():
                journal.trouble(wrong)
            journal.say("RESUME")
        if self._take_looked():
            await self._hands.tend(pointers)

    async def _pause(self) -> None:
        try:
            for wrong in await self._hands.start_pause("loss", self._config.pause_limit):
                journal.trouble(wrong)
        except PoolerError:
            self.state = replace(self.state, pause=None)
            raise
        journal.say("PAUSE")

    def _take_looked(self) -> bool:
        looked, self._looked = self._looked, False
        return looked

    def _watch(self) -> None:
        """Ask whoever is in the cluster, and whom we follow."""
        servers = {member.server for member in self._members() if member.host}
        if not servers:
            servers = set(self.probes.answers())
        if self.state.leader:
            servers.add(self.state.leader)
        self.probes.keep(servers)

    def _members(self) -> list[Member]:
        """By the latest answer of Patroni first; a server may occur in several."""
        return [member for cluster in self.patroni.fresh(time.monotonic()) for member in cluster.members]

    def _seen(self, now: float) -> Seen:
        answers = self.probes.answers()
        words = {
            server: answer.word for server, answer in answers.items() if answer.word and not self._old(answer, now)
        }
        views = self._members()
        named = frozenset(m.server for m in views if m.leads and m.state == "running" and m.host)
        leader = self.state.leader
        pointers = self._leader_pointers(leader)
        return Seen(
            now=now,
            named=named,
            members=frozenset(member.server for member in views if member.host),
            words=words,
            misses=self.probes.answer(leader).misses,
            pointed=leader if pointers and self._hands.settled(pointers) else None,
        )

    def _old(self, answer: Answer, now: float) -> bool:
        return answer.at is None or now - answer.at > _OLD * self._config.interval + members.AT_REST

    def _pointers(self, leader: Server | None, now: float) -> Pointers:
        """Where everything is to point, with the leader if it takes writes; what is not known stays as it is.

        So nothing is ever pointed at a server that does not take writes at this moment, not even back.
        """
        pointers = self._leader_pointers(leader)
        replicas = [name for name, target in self._config.targets.items() if target == "replica"]
        if replicas:
            self.serving = self._serving(now)
            one_for = socket.gethostname() if self._config.one_replica else None
            where = host_list(self.serving.servers, leader, fallback=self._config.replica_fallback, one_for=one_for)
            if where is not None and (self.serving.servers or self.patroni.fresh(now)):
                pointers |= dict.fromkeys(replicas, where)
        return pointers

    def _leader_pointers(self, leader: Server | None) -> dict[str, Server]:
        if leader is None:
            return {}
        return {name: leader for name, target in self._config.targets.items() if target == "leader"}

    def _serving(self, now: float) -> Serving:
        clusters = self.patroni.fresh(now)
        by_patroni = fit(clusters[0].members, self._config.replica_max_lag) if clusters else None
        in_recovery = [
            server
            for server, answer in self.probes.answers().items()
            if server != self.state.leader
            and answer.silences < 2
            and not (answer.word and answer.word.writable)
            and answer.at is not None
            and not (answer.silences and server not in self.serving.servers)
        ]
        return serving(self.serving, by_patroni, in_recovery, now)

    def _pace(self, server: Server) -> float:
        if self.state.lost is not None:
            return members.HURRY
        return self._config.interval if server == self.state.leader else members.AT_REST

    def _tell(self, before: State, after: State) -> None:
        if after.leader != before.leader:
            if before.leader:
                self._hands.counts.led("following")
            journal.say(f"the leader is {spelled(after.leader)}, it was {spelled(before.leader)}")
        if after.lost is not None and before.lost is None:
            why = self.probes.answer(after.leader).error or "it is in recovery"
            journal.say(f"the leader {spelled(after.leader)} takes no writes ({why})")
            self.patroni.ask_now()
        elif after.lost is None and before.lost is not None:
            journal.say(f"the leader {spelled(after.leader)} takes writes")


def _first(config: AgentConfig, hosts: HostsFile) -> Server | None:
    """Whom the hosts file names: followed until something else is seen."""
    with contextlib.suppress(PoolerError):
        entries = hosts.read()
        for name, where in sorted(config.targets.items()):
            if where == "leader" and (server := entries.where(name)):
                return server
    return None
