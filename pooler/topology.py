"""Who talks to whom on which port, and the groups of firewall rules that follow from it.

A group is a set of hosts that share one set of rules. What a group's hosts do is told by its roles, so that three hosts
which carry etcd, PostgreSQL and poolers at once are one group with three roles, and need no second table.
Pure: nothing here knows of EC2, except for the spelling of ids that stand for networks of others.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from .errors import InvalidError, Problem, nearest

SSH = 22
GRAFANA = 3000
POSTGRESQL = 5432
POOLER = 6432
PATRONI = 8008
PROMETHEUS = 9090
NODE_EXPORTER = 9100
AGENT = 9127
POSTGRES_EXPORTER = 9187
ETCD_CLIENTS = 2379
ETCD_MEMBERS = 2380
ETCD_METRICS = 2381


class Role(StrEnum):
    """What the hosts of a group do. A load balancer has no hosts, but a group all the same."""

    LOAD_BALANCER = "load_balancer"
    POOLER = "pooler"
    DATABASE = "database"
    ETCD = "etcd"
    MONITORING = "monitoring"
    JUMP = "jump"


class Outside(StrEnum):
    """Those who are in no group of ours; named by networks or by ids."""

    CLIENTS = "clients"
    ADMINISTRATORS = "administrators"
    MONITORS = "monitors"


DEFAULT_GROUPS: Mapping[str, tuple[Role, ...]] = {
    "load_balancer": (Role.LOAD_BALANCER,),
    "pooler": (Role.POOLER,),
    "database": (Role.DATABASE, Role.ETCD),
    "monitoring": (Role.MONITORING,),
    "jump": (Role.JUMP,),
}


@dataclass(frozen=True, order=True)
class Source:
    """`kind` is `group` (a key of Topology.groups), `cidr`, `cidr_ipv6`, `group_id` or `prefix_list`."""

    kind: str
    value: str

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True, order=True)
class Rule:
    """Ports `first` to `last` of TCP, from `source`. `why` is no part of what a rule is."""

    first: int
    last: int
    source: Source
    why: str = field(default="", compare=False)

    def __str__(self) -> str:
        ports = str(self.first) if self.first == self.last else f"{self.first}-{self.last}"
        return f"{ports} from {self.source}"


@dataclass(frozen=True)
class Topology:
    """`groups` maps the key of a group to its roles; the other sequences hold networks, `sg-…` and `pl-…` ids.

    `open_to_world` names the ports for which networks as wide as the world are meant.
    """

    groups: Mapping[str, tuple[Role, ...]] = field(default_factory=lambda: dict(DEFAULT_GROUPS))
    clients: tuple[Source, ...] = ()
    administrators: tuple[Source, ...] = ()
    monitors: tuple[Source, ...] = ()
    client_port: int = POOLER
    server_port: int = POSTGRESQL
    open_to_world: frozenset[int] = frozenset()

    def having(self, role: Role) -> tuple[str, ...]:
        """The groups with that role."""
        return tuple(key for key, roles in self.groups.items() if role in roles)

    @property
    def hosts(self) -> tuple[str, ...]:
        """The groups that have hosts."""
        return tuple(key for key, roles in self.groups.items() if set(roles) - {Role.LOAD_BALANCER})


def parse(
    groups: Mapping[str, Sequence[str]] | None = None,
    clients: Sequence[str] = (),
    administrators: Sequence[str] = (),
    monitors: Sequence[str] = (),
    client_port: int = POOLER,
    server_port: int = POSTGRESQL,
    open_to_world: Sequence[int] = (),
) -> Topology:
    """A topology from plain values. Raises InvalidError with every mistake, also when a rule would meet the world."""
    problems: list[Problem] = []
    topology = Topology(
        groups=_groups(groups, problems) if groups is not None else dict(DEFAULT_GROUPS),
        clients=_sources("clients", clients, problems),
        administrators=_sources("administrators", administrators, problems),
        monitors=_sources("monitors", monitors, problems),
        client_port=client_port,
        server_port=server_port,
        open_to_world=frozenset(open_to_world),
    )
    for place, port in (("client_port", client_port), ("server_port", server_port)):
        if not 0 < port < 65536:
            problems.append(Problem(place, f"{port} is no port", "1 to 65535"))
    problems += _worldly(topology)
    if problems:
        raise InvalidError(problems)
    return topology


def rules(topology: Topology) -> dict[str, tuple[Rule, ...]]:
    """What each group lets in, sorted; a group that lets nobody in has an empty tuple."""
    found: dict[str, list[Rule]] = {key: [] for key in topology.groups}
    for talk in _talks(topology):
        for target in _targets(topology, talk):
            found[target] += [Rule(talk.first, talk.last, source, talk.why) for source in _from(topology, talk.source)]
    return {key: _merged(each) for key, each in found.items()}


def is_world(source: Source) -> bool:
    """Whether it is a network so wide that it cannot be anybody's: less than /8 in IPv4, less than /16 in IPv6.

    Halves of the world are the world as well: 0.0.0.0/1 and 128.0.0.0/1 are how a check for 0.0.0.0/0 is evaded.
    """
    if source.kind not in ("cidr", "cidr_ipv6"):
        return False
    network = ipaddress.ip_network(source.value)
    return network.prefixlen < (8 if network.version == 4 else 16)


@dataclass(frozen=True)
class _Talk:
    """`target` None stands for every group with hosts."""

    source: Role | Outside
    target: Role | None
    first: int
    last: int
    why: str


def _talks(topology: Topology) -> list[_Talk]:
    entrance = Role.LOAD_BALANCER if topology.having(Role.LOAD_BALANCER) else Role.POOLER
    administrators = Role.JUMP if topology.having(Role.JUMP) else Outside.ADMINISTRATORS
    talks = [
        _talk(Outside.CLIENTS, entrance, topology.client_port, "clients connect"),
        _talk(Role.LOAD_BALANCER, Role.POOLER, topology.client_port, "clients connect through the load balancer"),
        _talk(Role.LOAD_BALANCER, Role.POOLER, AGENT, "the load balancer asks the agent whether it is ready"),
        _talk(Role.POOLER, Role.POOLER, AGENT, "a switchover commands the agents of all pooler hosts"),
        _talk(Role.POOLER, Role.DATABASE, topology.server_port, "poolers connect"),
        _talk(Role.POOLER, Role.DATABASE, PATRONI, "agents ask Patroni who leads"),
        _talk(Role.DATABASE, Role.DATABASE, topology.server_port, "replicas follow the leader"),
        _talk(Role.DATABASE, Role.DATABASE, PATRONI, "Patroni members ask each other"),
        _talk(Role.DATABASE, Role.ETCD, ETCD_CLIENTS, "Patroni holds its leader lock in etcd"),
        _Talk(Role.ETCD, Role.ETCD, ETCD_CLIENTS, ETCD_MEMBERS, "etcd members"),
        _talk(Role.MONITORING, Role.MONITORING, PROMETHEUS, "Grafana asks Prometheus"),
        _talk(administrators, None, SSH, "administrators"),
        _talk(administrators, Role.MONITORING, GRAFANA, "administrators look at Grafana"),
        _talk(administrators, Role.MONITORING, PROMETHEUS, "administrators look at Prometheus"),
    ]
    if administrators is Role.JUMP:
        talks.append(_talk(Outside.ADMINISTRATORS, Role.JUMP, SSH, "administrators come in"))
    if not topology.having(Role.POOLER):
        # Who connects past the pooler takes connections that nobody counted, so this ends with the first pooler.
        talks.append(_talk(Outside.CLIENTS, Role.DATABASE, topology.server_port, "clients connect without a pooler"))
    for monitor in (Role.MONITORING, Outside.MONITORS):
        talks += [
            _talk(monitor, Role.POOLER, AGENT, "Prometheus scrapes agents"),
            _talk(monitor, Role.DATABASE, POSTGRES_EXPORTER, "Prometheus scrapes PostgreSQL"),
            _talk(monitor, Role.DATABASE, PATRONI, "Prometheus scrapes Patroni"),
            _talk(monitor, Role.ETCD, ETCD_METRICS, "Prometheus scrapes etcd"),
            _talk(monitor, None, NODE_EXPORTER, "Prometheus scrapes hosts"),
        ]
    return talks


def _talk(source: Role | Outside, target: Role | None, port: int, why: str) -> _Talk:
    return _Talk(source, target, port, port, why)


def _targets(topology: Topology, talk: _Talk) -> tuple[str, ...]:
    if talk.target is not None:
        return topology.having(talk.target)
    # Nobody hops from one jump host to the next.
    return tuple(key for key in topology.hosts if talk.source != Role.JUMP or Role.JUMP not in topology.groups[key])


def _from(topology: Topology, source: Role | Outside) -> tuple[Source, ...]:
    if isinstance(source, Role):
        return tuple(Source("group", key) for key in topology.having(source))
    named: tuple[Source, ...] = getattr(topology, source.value)
    return named


def _merged(found: Sequence[Rule]) -> tuple[Rule, ...]:
    """One rule for each range and source, and none that lies within another of the same source."""
    reasons: dict[Source, dict[tuple[int, int], list[str]]] = {}
    for rule in found:
        reasons.setdefault(rule.source, {}).setdefault((rule.first, rule.last), []).append(rule.why)
    merged = []
    for source, ranges in reasons.items():
        for first, last in ranges:
            if not any(each != (first, last) and each[0] <= first and last <= each[1] for each in ranges):
                within = [each for each in ranges if first <= each[0] and each[1] <= last]
                whys = dict.fromkeys(why for each in within for why in ranges[each])
                merged.append(Rule(first, last, source, ", ".join(whys)))
    return tuple(sorted(merged))


def _groups(given: Mapping[str, Sequence[str]], problems: list[Problem]) -> dict[str, tuple[Role, ...]]:
    groups: dict[str, tuple[Role, ...]] = {}
    for key, names in given.items():
        place = f"groups.{key}"
        if not re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,60}", key):
            problems.append(Problem(place, "no name of a group", "lower-case letters, digits, - and _"))
        unknown = [name for name in names if name not in set(Role)]
        for name in unknown:
            remedy = nearest(name, [role.value for role in Role]) or f"roles are {', '.join(Role)}"
            problems.append(Problem(place, f"{name!r} is no role", remedy))
        if not names:
            problems.append(Problem(place, "has no roles", f"roles are {', '.join(Role)}"))
        groups[key] = tuple(dict.fromkeys(Role(name) for name in names if name not in unknown))
    present = {role for roles in groups.values() for role in roles}
    if Role.LOAD_BALANCER in present and Role.POOLER not in present:
        problems.append(Problem("groups", "a load balancer without poolers", "give a group the role pooler"))
    if not groups:
        problems.append(Problem("groups", "is empty", f"roles are {', '.join(Role)}"))
    return groups


def _sources(place: str, given: Sequence[str], problems: list[Problem]) -> tuple[Source, ...]:
    sources = []
    for number, text in enumerate(given):
        try:
            sources.append(_source(text))
        except ValueError as error:
            problems.append(Problem(f"{place}[{number}]", str(error), "a network such as 10.0.0.0/16, sg-… or pl-…"))
    return tuple(dict.fromkeys(sources))


def _source(text: str) -> Source:
    if re.fullmatch(r"sg-[0-9a-f]+", text):
        return Source("group_id", text)
    if re.fullmatch(r"pl-[0-9a-f]+", text):
        return Source("prefix_list", text)
    network = ipaddress.ip_network(text)
    return Source("cidr" if network.version == 4 else "cidr_ipv6", str(network))


def _worldly(topology: Topology) -> list[Problem]:
    problems = []
    for key, each in rules(topology).items():
        for rule in each:
            unnamed = set(range(rule.first, rule.last + 1)) - topology.open_to_world
            if is_world(rule.source) and unnamed:
                what = f"{rule.source} would open port {min(unnamed)} to the world ({rule.why})"
                remedy = f"name the networks that are meant, or add {min(unnamed)} to open_to_world"
                problems.append(Problem(f"groups.{key}", what, remedy))
    return problems
