"""The arithmetic of pools: clients on one side, max_connections on the other, and what fits between them.

Pools are counted as in `capacity`, which holds every run to the same sums.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from math import ceil

from .capacity import AGENT_DIRECT, memory, nofile
from .errors import InvalidError, Problem, nearest
from .model import AGENT_POOL, AUTH_POOL
from .waiting import Waiting, predicted

MORE_CLIENTS = 1.2
"""Room for clients that connect anew before their old connections are known to be gone."""


class Profile(Enum):
    """How many transactions are to run at the same time for each core of the database.

    With as many as cores nobody waits for a processor. Each more keeps cores busy while others wait for a disk or for
    the network between two statements of a transaction; it takes memory, and adds to everybody's time.
    """

    MEMORY = 1
    LATENCY = 2
    THROUGHPUT = 4


@dataclass(frozen=True)
class Demand:
    """Who wants connections: `clients` in all, to `databases` as `users` each."""

    clients: int
    databases: int = 1
    users: int = 1

    @property
    def pairs(self) -> int:
        return self.databases * self.users


@dataclass(frozen=True)
class Fleet:
    """Pooler hosts and instances on each. All clients are to fit when `spare` of the hosts are gone."""

    hosts: int = 1
    instances: int = 2
    spare: int = 0
    auth_query: bool = True
    agent: bool = True

    @property
    def processes(self) -> int:
        return self.hosts * self.instances


@dataclass(frozen=True)
class Server:
    """PostgreSQL's side. `reserved` are for superusers, and for whatever connects beside the poolers."""

    max_connections: int
    cores: int
    reserved: int = 10


@dataclass(frozen=True)
class Line:
    """One line of the arithmetic: what, how it comes about, and the figure."""

    what: str
    how: str
    figure: int


@dataclass(frozen=True)
class Question:
    """What `sizes` is asked, as one."""

    demand: Demand
    fleet: Fleet
    server: Server
    profile: Profile = Profile.THROUGHPUT


@dataclass(frozen=True)
class Sizes:
    """`settings` are those of an inventory: pool sizes of one instance, limits of a host. Memory is in MiB."""

    settings: Mapping[str, int]
    servers: int
    nofile: int
    memory: int
    lines: tuple[Line, ...]


def question(given: Mapping[str, object]) -> Question:
    """From names and values; see _NUMBERS. Raises InvalidError with all that is wrong."""
    problems = []
    for name in given.keys() - _NUMBERS.keys() - {"profile"}:
        problems.append(Problem(name, "is nothing that sizes depend on", nearest(name, _NUMBERS)))
    numbers = {}
    for name, default in _NUMBERS.items():
        value = given.get(name)
        if value is not None and (isinstance(value, bool) or not str(value).isdecimal()):
            problems.append(Problem(name, f"{value!r} is not a whole number"))
        elif value is not None or default is not None:
            numbers[name] = int(str(default if value is None else value))
    if (given.get("clients") is None) == (given.get("pool") is None):
        problems.append(Problem("clients", "is to be given, or else services, replicas and pool"))
    problems += [Problem(name, "is missing") for name in ("max_connections", "cores") if given.get(name) is None]
    profile = str(given.get("profile") or "throughput").upper()
    if profile not in Profile.__members__:
        allowed = ", ".join(each.lower() for each in Profile.__members__)
        problems.append(Problem("profile", f"{given.get('profile')!r} is not a profile", f"one of {allowed}"))
    if problems:
        raise InvalidError(sorted(problems, key=str))
    clients = numbers.get("clients") or numbers["services"] * numbers["replicas"] * numbers.get("pool", 0)
    return Question(
        Demand(clients, numbers["databases"], numbers["users"]),
        Fleet(numbers["hosts"], numbers["instances"], numbers["spare"]),
        Server(numbers["max_connections"], numbers["cores"], numbers["reserved"]),
        Profile[profile],
    )


def sizes(asked: Question) -> Sizes:
    """What fits. Raises InvalidError with the sum when nothing does, and says which number to change."""
    demand, fleet, server, profile = asked.demand, asked.fleet, asked.server, asked.profile
    if problems := list(_impossible(demand, fleet, server)):
        raise InvalidError(problems)
    own = _own(fleet)
    room = server.max_connections - server.reserved - own
    pools = demand.pairs * fleet.processes
    # What is held in reserve for each pool is so for our own ones as well.
    all_pools = pools + (fleet.auth_query + fleet.agent) * fleet.processes
    if room < pools:
        raise InvalidError([_too_many(demand, fleet, server, pools, own)])
    active = profile.value * server.cores
    size = min(max(1, ceil(active / pools)), room // pools)
    reserve = min(max(1, size // 4), (room - size * pools) // all_pools)
    limit = room // (fleet.processes * demand.databases) * fleet.instances
    hosts = fleet.hosts - fleet.spare
    clients = ceil(demand.clients * MORE_CLIENTS / hosts)
    servers = size * pools + reserve * all_pools + own
    direct = max(0, demand.clients - (server.max_connections - server.reserved))
    lines = (
        Line("clients", "all at once", demand.clients),
        Line("too many without a pool", f"beyond {server.max_connections} - {server.reserved} reserved", direct),
        Line("room", f"{server.max_connections} - {server.reserved} reserved - {own} of our own", room),
        Line(
            "pools",
            f"{demand.databases} databases x {demand.users} users x {fleet.instances} instances x {fleet.hosts} hosts",
            pools,
        ),
        Line(
            "transactions at the same time", f"{profile.name.lower()}: {profile.value} x {server.cores} cores", active
        ),
        Line("default_pool_size", f"{active} / {pools} rounded up, at most {room} / {pools}", size),
        Line(
            "reserve_pool_size", f"a quarter, at most ({room} - {size} x {pools}) / {all_pools} with our own", reserve
        ),
        Line("max_db_connections", f"of a host: {room} / {fleet.processes} processes / databases x instances", limit),
        Line("max_client_conn", f"of a host: {demand.clients} x {MORE_CLIENTS} / {hosts} hosts", clients),
        Line("server connections", f"{size} x {pools} + {reserve} x {all_pools} + {own} of our own", servers),
        Line("nofile", f"of an instance: 2 x {clients} + 1024", nofile(clients)),
        Line("memory", f"of an instance, MiB: 128 + {clients} / 8", memory(clients)),
    )
    found = {line.what: line.figure for line in lines if line.what in _SETTINGS}
    return Sizes(found, servers, nofile(clients), memory(clients), lines)


def expected(asked: Question, found: Sizes, held: float, between: float) -> Waiting:
    """How long clients will wait in one of the pools, when they are spread evenly; times in seconds."""
    clients = ceil(asked.demand.clients / (asked.demand.pairs * asked.fleet.processes))
    return predicted(clients, found.settings["default_pool_size"], held, between)


def table(found: Sizes, waits: Waiting | None = None) -> str:
    """The arithmetic, what is expected of it, and the settings of an inventory."""
    widths = (max(len(line.what) for line in found.lines), max(len(str(line.figure)) for line in found.lines))
    rows = [f"{line.what:{widths[0]}}  {line.figure:{widths[1]}}  {line.how}" for line in found.lines]
    if waits:
        rows.append(
            f"\nA transaction waits {waits.seconds * 1000:.1f} ms for a server connection. A pool does "
            f"{waits.per_second:.0f} a second, and its connections work {waits.busy * 100:.0f} % of the time."
        )
    return "\n".join([*rows, "", "pgbouncer_settings:", *(f"  {name}: {n}" for name, n in found.settings.items())])


_NUMBERS: Mapping[str, int | None] = {
    "clients": None,
    "services": 1,
    "replicas": 1,
    "pool": None,
    "databases": 1,
    "users": 1,
    "hosts": 1,
    "instances": 2,
    "spare": 0,
    "max_connections": None,
    "cores": None,
    "reserved": 10,
}
"""What can be given, and what goes for it otherwise."""

_SETTINGS = ("default_pool_size", "reserve_pool_size", "max_db_connections", "max_client_conn")


def _own(fleet: Fleet) -> int:
    """Server connections that are for no client: the engine's for auth_query, the agent's in and beside the pools."""
    each = AUTH_POOL * fleet.auth_query + AGENT_POOL * fleet.agent
    return each * fleet.processes + AGENT_DIRECT * fleet.agent * fleet.hosts


def _impossible(demand: Demand, fleet: Fleet, server: Server) -> Iterator[Problem]:
    least = (
        ("clients", demand.clients),
        ("databases", demand.databases),
        ("users", demand.users),
        ("hosts", fleet.hosts),
        ("instances", fleet.instances),
        ("cores", server.cores),
        ("max_connections", server.max_connections),
    )
    for name, value in least:
        if value < 1:
            yield Problem(name, f"{value} is not enough", "at least 1")
    if not 0 <= fleet.spare < max(1, fleet.hosts):
        yield Problem("spare", f"{fleet.spare} of {fleet.hosts} hosts leave none", "fewer than there are hosts")
    if server.reserved < 0:
        yield Problem("reserved", f"{server.reserved} is not a number of connections", "0 or more")


def _too_many(demand: Demand, fleet: Fleet, server: Server, pools: int, own: int) -> Problem:
    room = max(0, server.max_connections - server.reserved - own)
    what = (
        f"{demand.databases} databases x {demand.users} users x {fleet.instances} instances x {fleet.hosts} hosts are "
        f"{pools} pools, and there is room for {room} connections: max_connections {server.max_connections} - "
        f"{server.reserved} reserved - {own} of our own"
    )
    ways = [f"max_connections to {pools + server.reserved + own} or more"]
    for name, value in (("instances", fleet.instances), ("users", demand.users)):
        fits = [fewer for fewer in range(1, value) if _fits(demand, fleet, server, **{name: fewer})]
        if fits:
            ways.append(f"{name} to {fits[-1]} or fewer")
    return Problem("max_connections", what, f"change {', or '.join(ways)}")


def _fits(demand: Demand, fleet: Fleet, server: Server, *, instances: int = 0, users: int = 0) -> bool:
    smaller = Fleet(fleet.hosts, instances or fleet.instances, fleet.spare, fleet.auth_query, fleet.agent)
    pools = demand.databases * (users or demand.users) * smaller.processes
    return pools + _own(smaller) + server.reserved <= server.max_connections
