"""EC2 security groups as they are and as a topology wants them, and the steps from one to the other.

Pure. Groups that exist are given in the shape in which `amazon.aws.ec2_security_group_info` returns them, rules that
are wanted in the shape in which `amazon.aws.ec2_security_group` takes them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .errors import PoolerError
from .topology import Rule, Source

# EC2 keeps a description with each rule. Ours begin like this, which is how they are told from rules of others.
MARK = "pgfleet: "
# What tells a group of ours, and which one of a fleet it is.
FLEET_TAG = "pgfleet"
GROUP_TAG = "pgfleet_group"
_DESCRIPTION_LENGTH = 255


@dataclass(frozen=True, order=True)
class Permission:
    """One line of a group: protocol as EC2 spells it (`tcp`, `-1`…), ports (-1 for all), where from.

    The source of a group in another account has the kind `foreign` and the value `account/group id/group name`.
    """

    protocol: str
    first: int
    last: int
    source: Source
    description: str = field(default="", compare=False)

    @property
    def ours(self) -> bool:
        return self.description.startswith(MARK)

    def named(self, keys: Mapping[str, str]) -> str:
        """As a person reads it; `keys` maps ids of our groups to their keys."""
        ports = "all ports" if self.first == -1 else str(self.first)
        ports += f"-{self.last}" if self.last not in (self.first, -1) else ""
        protocol = {"-1": "all protocols", "tcp": ""}.get(self.protocol, self.protocol)
        words = (
            protocol,
            ports if self.protocol != "-1" else "",
            "from",
            keys.get(self.source.value, str(self.source)),
        )
        text = " ".join(word for word in words if word)
        return f"{text}  # {self.description.removeprefix(MARK)}" if self.description else text

    def argument(self) -> dict[str, Any]:
        """The rule as the module takes it."""
        name = {"cidr": "cidr_ip", "cidr_ipv6": "cidr_ipv6", "prefix_list": "ip_prefix"}.get(
            self.source.kind, "group_id"
        )
        rule: dict[str, Any] = {"proto": self.protocol, name: [self.source.value]}
        if self.protocol in ("tcp", "udp", "icmp", "icmpv6"):
            rule |= {"from_port": self.first, "to_port": self.last}
        return rule | ({"rule_desc": self.description} if self.description else {})


@dataclass(frozen=True)
class Existing:
    """A group of the VPC. `fleet` and `key` are the tags that mark ours, empty for others'."""

    group_id: str
    name: str
    fleet: str
    key: str
    permissions: frozenset[Permission]


@dataclass(frozen=True)
class Plan:
    """`create` and `delete` hold keys; `open` and `close` the permissions of each key that are missing or too many.

    Permissions that name groups which are still to be made have the group's key as the value of their source.
    """

    create: tuple[str, ...]
    open: Mapping[str, tuple[Permission, ...]]
    close: Mapping[str, tuple[Permission, ...]]
    delete: tuple[str, ...]

    @property
    def changed(self) -> bool:
        return bool(self.create or self.delete or any(self.open.values()) or any(self.close.values()))


def existing(groups: Iterable[Mapping[str, Any]]) -> tuple[Existing, ...]:
    return tuple(
        Existing(
            group_id=str(group["group_id"]),
            name=str(group["group_name"]),
            fleet=str(group.get("tags", {}).get(FLEET_TAG, "")),
            key=str(group.get("tags", {}).get(GROUP_TAG, "")),
            permissions=frozenset(
                permission
                for entry in group.get("ip_permissions", [])
                for permission in _permissions(entry, str(group.get("owner_id", "")))
            ),
        )
        for group in groups
    )


def group_name(fleet: str, key: str) -> str:
    return f"{fleet}-{key}"


def ours(fleet: str, wanted: Iterable[str], found: Sequence[Existing]) -> dict[str, Existing]:
    """The groups of the fleet by key: by tag, or by name where the tags were never written. Raises PoolerError when
    a name is taken by a group that is marked as another's."""
    by_key = {group.key: group for group in found if group.fleet == fleet}
    for key in wanted:
        named = next((group for group in found if group.name == group_name(fleet, key)), None)
        if named is None or named.group_id == by_key.get(key, named).group_id:
            by_key |= {key: named} if named else {}
        else:
            raise PoolerError(f"{named.name}: two groups claim to be {key!r} of {fleet!r} ({by_key[key].group_id} too)")
    return by_key


def plan(
    rules: Mapping[str, Sequence[Rule]], mine: Mapping[str, Existing], *, purge: bool, only_present: bool = False
) -> Plan:
    """What to do so that the groups of `rules` are as they say and no other group of ours is left.

    `purge` closes rules of others as well. `only_present` leaves groups alone that are no longer wanted.
    """
    ids = {key: group.group_id for key, group in mine.items()}
    opened: dict[str, tuple[Permission, ...]] = {}
    closed: dict[str, tuple[Permission, ...]] = {}
    for key, wanted_rules in rules.items():
        wanted = {wanted_permission(rule, ids) for rule in wanted_rules}
        there = mine[key].permissions if key in mine else frozenset()
        opened[key] = tuple(sorted(wanted - there))
        closed[key] = tuple(sorted(each for each in there - wanted if purge or each.ours))
    gone = () if only_present else tuple(key for key in mine if key not in rules)
    return Plan(tuple(key for key in rules if key not in mine), opened, closed, gone)


def creation(plan: Plan) -> tuple[str, ...]:
    """The order in which to make groups: those first that others name, so that most rules can be given at once."""
    named = [permission.source.value for opened in plan.open.values() for permission in set(opened)]
    return tuple(sorted(plan.create, key=lambda key: (-named.count(key), key)))


@dataclass(frozen=True)
class Step:
    """The group is emptied of its rules, or deleted."""

    key: str
    empty: bool


def removal(groups: Mapping[str, Existing]) -> tuple[Step, ...]:
    """How to delete them all: EC2 deletes none that a rule of another one names. Those that name each other in a ring
    are emptied, which takes one call more."""
    left, emptied, steps = dict(sorted(groups.items())), set[str](), list[Step]()
    while left:
        named = {
            permission.source.value: key
            for key, group in left.items()
            if key not in emptied
            for permission in group.permissions
            if permission.source.value != group.group_id
        }
        free = next((key for key, group in left.items() if group.group_id not in named), None)
        if free is None:
            ring = next(named[group.group_id] for group in left.values())
            steps.append(Step(ring, empty=True))
            emptied.add(ring)
        else:
            steps.append(Step(free, empty=False))
            del left[free]
    return tuple(steps)


def wanted_permission(rule: Rule, ids: Mapping[str, str]) -> Permission:
    source = rule.source
    if source.kind == "group":
        source = Source("group_id", ids.get(source.value, source.value))
    return Permission("tcp", rule.first, rule.last, source, (MARK + rule.why)[:_DESCRIPTION_LENGTH])


def text(groups: Mapping[str, Iterable[Permission]], keys: Mapping[str, str]) -> str:
    """All groups as lines, for a diff."""
    lines = []
    for key in sorted(groups):
        lines += [f"{key}:", *(f"  {permission.named(keys)}" for permission in sorted(groups[key]))]
    return "".join(f"{line}\n" for line in lines)


def _permissions(entry: Mapping[str, Any], owner: str) -> Iterable[Permission]:
    protocol = str(entry["ip_protocol"])
    first, last = entry.get("from_port"), entry.get("to_port")
    ports = (-1 if first is None else int(first), -1 if last is None else int(last))

    def permission(kind: str, value: str, described: Mapping[str, Any]) -> Permission:
        return Permission(protocol, *ports, Source(kind, value), str(described.get("description") or ""))

    for each in entry.get("ip_ranges", []):
        yield permission("cidr", each["cidr_ip"], each)
    for each in entry.get("ipv6_ranges", []):
        yield permission("cidr_ipv6", each["cidr_ipv6"], each)
    for each in entry.get("prefix_list_ids", []):
        yield permission("prefix_list", each["prefix_list_id"], each)
    for each in entry.get("user_id_group_pairs", []):
        if not owner or each.get("user_id", owner) == owner:
            yield permission("group_id", each["group_id"], each)
        else:
            yield permission("foreign", f"{each['user_id']}/{each['group_id']}/{each.get('group_name', '')}", each)
