"""Server connections that the pools of a fleet may open, counted as the engine counts, against max_connections.

The engine keeps a pool for each pair of database and user in use, in every instance, on every host; so a pool's size
counts as often as that (PgBouncer 1.24: default_pool_size, reserve_pool_size, max_db_connections).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from . import settings
from .errors import Problem
from .model import AGENT_POOL, AUTH_DATABASE, AUTH_POOL, Capacity, Pooler

AGENT_DIRECT = 2
"""Connections of one agent that go past the pool: one watches the leader, and one more does in a switchover."""


@dataclass(frozen=True)
class Pool:
    """The pools of one database in one instance: `pairs` of `size` and `reserve`, together at most `limit` if any.

    A size of 0 is unlimited to the engine.
    """

    database: str
    pairs: int
    size: int
    reserve: int = 0
    limit: int = 0

    @property
    def most(self) -> int | None:
        """Server connections of them all, None when nothing bounds them."""
        if self.size == 0:
            return self.limit or None
        wanted = self.pairs * (self.size + self.reserve)
        return min(wanted, self.limit) if self.limit else wanted

    @property
    def how(self) -> str:
        each = f"({self.size} + {self.reserve})" if self.reserve else str(self.size)
        text = f"{self.pairs} x {each}" if self.pairs > 1 else each
        return f"{text}, at most {self.limit}" if self.limit else text


def total(pools: Iterable[Pool], processes: int) -> int:
    """Server connections that all processes may open together; pools without a bound are left out."""
    return sum(pool.most or 0 for pool in pools) * processes


def overflow(pooler: Pooler, capacity: Capacity) -> list[Problem]:
    """What of a host's pools cannot fit into PostgreSQL, with the sum; nothing when they do, or nobody knows."""
    if capacity.max_connections is None:
        return []
    pools = list(pools_of(pooler, capacity.users))
    processes = pooler.instances * capacity.hosts
    direct = AGENT_DIRECT * capacity.hosts if pooler.agent else 0
    room = capacity.max_connections - capacity.reserved - direct
    problems = [
        Problem(f"databases.{pool.database}", "has pools without a limit", "give it pool_size or max_db_connections")
        for pool in pools
        if pool.most is None
    ]
    wanted = total(pools, processes)
    if wanted > room:
        sums = " + ".join(f"{pool.database} {pool.how}" for pool in pools)
        agents = f" - {direct} of agents" if direct else ""
        what = (
            f"the pools may open {wanted} connections, ({sums}) x {pooler.instances} instances "
            f"x {capacity.hosts} hosts, and there is room for {room}: "
            f"max_connections {capacity.max_connections} - {capacity.reserved} reserved{agents}"
        )
        enough = wanted - room + capacity.max_connections
        problems.append(Problem("capacity", what, _smaller(pools, processes, room, enough)))
    return problems


def pools_of(pooler: Pooler, users: int) -> Iterator[Pool]:
    """The pools of one instance at the leader, when `users` log in to each database that forces none on them.

    Databases with a host of their own are another server's; those of replicas count, as they may fall back.
    """

    def general(name: str) -> int:
        return int(pooler.settings.get(name) or settings.get("pgbouncer", name).default or "0")

    def pool(name: str, pairs: int, given: Mapping[str, str]) -> Pool:
        size = int(given.get("pool_size", general("default_pool_size")))
        reserve = int(given.get("reserve_pool_size", given.get("reserve_pool", general("reserve_pool_size"))))
        limit = int(given.get("max_db_connections", general("max_db_connections")))
        return Pool(name, pairs, size, reserve, pooler.share(limit))

    for database in pooler.databases:
        if database.target == "leader" or (database.target and pooler.agent and pooler.agent.replica_fallback):
            yield pool(database.name, 1 if "user" in database.settings else users, database.settings)
    if pooler.auth_query:
        yield pool(AUTH_DATABASE, 1, {"pool_size": str(AUTH_POOL)})
    if pooler.agent:
        yield pool("the agent's", 1, {"pool_size": str(AGENT_POOL)})


def nofile(clients: int) -> int:
    """Descriptors of a process: each client may hold one server connection, and there is room for logins."""
    return 2 * clients + 1024


def memory(clients: int) -> int:
    """MiB of a process; an idle TLS client takes 35 kB, a busy one a multiple."""
    return 128 + clients // 8


def _smaller(pools: list[Pool], processes: int, room: int, needed: int) -> str:
    """Which number to change: that of the largest database, as far as that helps, or max_connections."""
    largest = max(pools, key=lambda pool: pool.most or 0)
    rest = total([pool for pool in pools if pool is not largest], processes)
    size = (room - rest) // (processes * largest.pairs) - largest.reserve
    lower = f"lower pool_size of {largest.database} to {size}, or " if 0 < size < largest.size else ""
    return f"{lower}raise max_connections to {needed}"
