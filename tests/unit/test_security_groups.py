from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pooler import security_groups, topology
from pooler.errors import PoolerError
from pooler.security_groups import MARK, Existing, Permission
from pooler.topology import Rule, Source

FLEET = "shop"


def group(key: str, *permissions: Permission, fleet: str = FLEET, name: str = "") -> Existing:
    return Existing(f"sg-{key}", name or f"{FLEET}-{key}", fleet, key, frozenset(permissions))


def permission(port: int, source: Source, description: str = f"{MARK}why") -> Permission:
    return Permission("tcp", port, port, source, description)


OFFICE = Source("cidr", "192.0.2.0/24")
APPLICATION = Source("cidr", "10.20.0.0/16")


def carried_out(plan: security_groups.Plan, mine: Mapping[str, Existing]) -> dict[str, Existing]:
    """What EC2 has after the plan: groups that were made have the ids of `group`."""
    ids = {key: f"sg-{key}" for key in (*mine, *plan.create)}

    def resolved(one: Permission) -> Permission:
        value = ids.get(one.source.value, one.source.value)
        return Permission(one.protocol, one.first, one.last, Source(one.source.kind, value), one.description)

    after = {}
    for key in (*mine, *plan.create):
        if key in plan.delete:
            continue
        there = mine[key].permissions if key in mine else frozenset()
        opened = {resolved(each) for each in plan.open.get(key, ())}
        after[key] = group(key, *(there - set(plan.close.get(key, ())) | opened))
    return after


keys = st.sampled_from(["a", "b", "c", "d"])
roles = st.lists(st.sampled_from(list(topology.Role)), min_size=1, max_size=4, unique=True)
topologies = st.builds(
    lambda groups, clients: topology.parse(
        {**groups, "pool": ["pooler"]}, clients=clients, administrators=["192.0.2.0/24"]
    ),
    st.dictionaries(keys, roles),
    st.lists(st.sampled_from(["10.20.0.0/16", "10.21.0.0/16", "2001:db8::/32", "sg-0a1b"]), unique=True),
)


@given(topologies, topologies, st.booleans())
def test_a_plan_that_was_carried_out_leaves_nothing_to_do(
    first: topology.Topology, second: topology.Topology, purge: bool
) -> None:
    mine: dict[str, Existing] = {}
    for each in (first, second):
        rules = topology.rules(each)
        mine = carried_out(security_groups.plan(rules, mine, purge=purge), mine)
        assert not security_groups.plan(rules, mine, purge=purge).changed
        assert set(mine) == set(rules)


@given(topologies, st.booleans())
def test_rules_of_others_are_closed_only_when_told_so(found: topology.Topology, purge: bool) -> None:
    rules = topology.rules(found)
    mine = carried_out(security_groups.plan(rules, {}, purge=True), {})
    strange = permission(4000, OFFICE, "from the console")
    mine["pool"] = group("pool", *mine["pool"].permissions, strange)
    plan = security_groups.plan(rules, mine, purge=purge)
    assert plan.close["pool"] == ((strange,) if purge else ())
    assert not any(plan.open.values())


def test_a_rule_of_ours_that_is_no_longer_due_is_closed_in_either_case() -> None:
    old = permission(5432, APPLICATION)
    plan = security_groups.plan({"database": ()}, {"database": group("database", old)}, purge=False)
    assert plan.close == {"database": (old,)}


def test_a_rule_that_somebody_made_by_hand_and_that_is_wanted_stays_with_its_words() -> None:
    by_hand = permission(6432, APPLICATION, "made by hand")
    wanted = {"pooler": (Rule(6432, 6432, APPLICATION, "clients connect"),)}
    assert not security_groups.plan(wanted, {"pooler": group("pooler", by_hand)}, purge=True).changed


def test_groups_that_are_no_longer_wanted_are_deleted() -> None:
    mine = {key: group(key) for key in ("pooler", "monitoring")}
    assert security_groups.plan({"pooler": ()}, mine, purge=True).delete == ("monitoring",)


def test_a_group_is_deleted_before_those_that_its_rules_name() -> None:
    def of(key: str) -> Source:
        return Source("group_id", f"sg-{key}")

    mine = {
        "jump": group("jump", permission(9100, of("monitoring"))),
        "monitoring": group("monitoring", permission(22, of("jump")), permission(9090, of("monitoring"))),
        "pooler": group("pooler", permission(22, of("jump"))),
    }
    steps = security_groups.removal(mine)
    emptied: set[str] = set()
    left = dict(mine)
    for step in steps:
        if step.empty:
            emptied.add(step.key)
            continue
        named = {
            each.source.value
            for key, other in left.items()
            if key != step.key and key not in emptied
            for each in other.permissions
        }
        assert left.pop(step.key).group_id not in named
    assert left == {}
    assert len(emptied) == 1


def answer(**parts: Any) -> dict[str, Any]:
    entry = {"ip_protocol": "tcp", "from_port": 6432, "to_port": 6432, **parts}
    return {
        "group_id": "sg-1",
        "group_name": "shop-pooler",
        "owner_id": "123456789012",
        "tags": {"pgfleet": FLEET, "pgfleet_group": "pooler"},
        "ip_permissions": [entry],
    }


@pytest.mark.parametrize(
    ("parts", "argument"),
    [
        ({"ip_ranges": [{"cidr_ip": "10.0.0.0/8"}]}, {"cidr_ip": ["10.0.0.0/8"]}),
        ({"ipv6_ranges": [{"cidr_ipv6": "2001:db8::/32"}]}, {"cidr_ipv6": ["2001:db8::/32"]}),
        ({"prefix_list_ids": [{"prefix_list_id": "pl-1"}]}, {"ip_prefix": ["pl-1"]}),
        ({"user_id_group_pairs": [{"group_id": "sg-2", "user_id": "123456789012"}]}, {"group_id": ["sg-2"]}),
        (
            {"user_id_group_pairs": [{"group_id": "sg-9", "user_id": "999999999999", "group_name": "theirs"}]},
            {"group_id": ["999999999999/sg-9/theirs"]},
        ),
    ],
)
def test_a_rule_of_somebody_else_is_handed_back_as_it_was_found(
    parts: dict[str, Any], argument: dict[str, Any]
) -> None:
    (found,) = security_groups.existing([answer(**parts)])
    (one,) = found.permissions
    assert one.argument() == {"proto": "tcp", "from_port": 6432, "to_port": 6432, **argument}


def test_a_rule_for_all_protocols_is_handed_back_without_ports() -> None:
    entry = answer(ip_protocol="-1", ip_ranges=[{"cidr_ip": "10.0.0.0/8", "description": "all"}])
    del entry["ip_permissions"][0]["from_port"], entry["ip_permissions"][0]["to_port"]
    ((one,),) = (found.permissions for found in security_groups.existing([entry]))
    assert one.argument() == {"proto": "-1", "cidr_ip": ["10.0.0.0/8"], "rule_desc": "all"}


def test_a_group_that_was_made_but_not_tagged_is_found_by_its_name() -> None:
    untagged = Existing("sg-1", "shop-pooler", "", "", frozenset())
    assert security_groups.ours(FLEET, ["pooler"], [untagged]) == {"pooler": untagged}


def test_a_group_of_another_fleet_is_not_taken_for_ours() -> None:
    other = group("pooler", fleet="office", name="office-pooler")
    assert security_groups.ours(FLEET, ["pooler"], [other]) == {}


def test_two_groups_that_claim_to_be_the_same_are_an_error() -> None:
    one, two = group("pooler", name="renamed"), Existing("sg-2", "shop-pooler", "", "", frozenset())
    with pytest.raises(PoolerError, match="two groups claim to be 'pooler'"):
        security_groups.ours(FLEET, ["pooler"], [one, two])


def test_descriptions_are_such_as_ec2_takes() -> None:
    for rules in topology.rules(topology.parse(clients=["10.0.0.0/8"])).values():
        for rule in rules:
            described = security_groups.wanted_permission(rule, {}).description
            assert len(described) <= 255
            assert set(described) <= set(" ._-:/()#,@[]+=&;{}!$*") | {
                chr(number) for span in ((48, 58), (65, 91), (97, 123)) for number in range(*span)
            }


def test_groups_that_others_name_are_made_first() -> None:
    rules = topology.rules(topology.parse(clients=["10.20.0.0/16"]))
    order = security_groups.creation(security_groups.plan(rules, {}, purge=True))
    assert set(order) == set(rules)
    assert order.index("monitoring") < order.index("database")
