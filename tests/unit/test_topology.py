from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pooler import topology
from pooler.errors import InvalidError
from pooler.topology import Role, Rule, Source

GUARDED = {22, 5432, 8008, 2379, 2380, 9090, 3000}
WORLD = ("0.0.0.0/0", "::/0", "0.0.0.0/1", "128.0.0.0/1", "2000::/3")

roles = st.lists(st.sampled_from(list(Role)), min_size=1, max_size=6, unique=True)
keys = st.sampled_from(["a", "b", "hosts", "blue", "green", "all-in-one"])
networks = st.one_of(
    st.builds(
        lambda number, prefix: str(ipaddress.ip_network((number, prefix), strict=False)),
        st.integers(0, 2**32 - 1),
        st.integers(0, 32),
    ),
    st.builds(
        lambda number, prefix: str(ipaddress.ip_network((number, prefix), strict=False)),
        st.integers(2**64, 2**128 - 1),
        st.integers(0, 128),
    ),
    st.sampled_from(WORLD),
    st.just("sg-0123456789abcdef0"),
    st.just("pl-0123456789abcdef0"),
)
sources = st.lists(networks, max_size=3)


def covers_the_world(source: Source) -> bool:
    """0.0.0.0/0 and ::/0 by the words of EC2, not by those of the code."""
    return source.value in ("0.0.0.0/0", "::/0")


@given(
    groups=st.dictionaries(keys, roles, min_size=1),
    clients=sources,
    administrators=sources,
    monitors=sources,
    client_port=st.sampled_from([6432, 5432, 22, 3000]),
    named=st.lists(st.sampled_from([6432, *GUARDED]), unique=True),
)
def test_no_topology_opens_a_port_to_the_world_that_was_not_named(
    groups: dict[str, list[Role]],
    clients: list[str],
    administrators: list[str],
    monitors: list[str],
    client_port: int,
    named: list[int],
) -> None:
    try:
        found = topology.parse(groups, clients, administrators, monitors, client_port=client_port, open_to_world=named)
    except InvalidError:
        return
    for rules in topology.rules(found).values():
        for rule in rules:
            if covers_the_world(rule.source):
                assert set(range(rule.first, rule.last + 1)) <= set(named)


@given(
    groups=st.dictionaries(keys, roles, min_size=1),
    source=st.sampled_from(WORLD),
    place=st.sampled_from(["clients", "administrators", "monitors"]),
)
def test_the_world_as_a_source_is_refused_wherever_it_would_open_anything(
    groups: dict[str, list[Role]], source: str, place: str
) -> None:
    if any(Role.LOAD_BALANCER in each for each in groups.values()):
        groups["pool"] = [Role.POOLER]
    narrow = topology.parse(groups, **{place: ["192.0.2.0/24"]})  # type: ignore[arg-type]
    opens = any(rule.source.value == "192.0.2.0/24" for rules in topology.rules(narrow).values() for rule in rules)
    if opens:
        with pytest.raises(InvalidError, match="to the world"):
            topology.parse(groups, **{place: [source]})  # type: ignore[arg-type]
    else:
        assert topology.rules(topology.parse(groups, **{place: [source]})) == topology.rules(narrow)  # type: ignore[arg-type]


@given(groups=st.dictionaries(keys, roles, min_size=1), clients=sources)
def test_between_groups_of_ours_no_rule_names_a_network(groups: dict[str, list[Role]], clients: list[str]) -> None:
    try:
        found = topology.parse(groups, clients, open_to_world=range(1, 65536))
    except InvalidError:
        return
    named = set(found.clients)
    for rules in topology.rules(found).values():
        for rule in rules:
            assert rule.source.kind == "group" or rule.source in named
            assert rule.source.kind != "group" or rule.source.value in groups


@given(groups=st.dictionaries(keys, roles, min_size=1))
def test_postgresql_is_closed_to_clients_once_there_is_a_pooler(groups: dict[str, list[Role]]) -> None:
    groups["pool"] = [Role.POOLER]
    found = topology.parse(groups, clients=["10.20.0.0/16"])
    for key, rules in topology.rules(found).items():
        ports = {rule.first for rule in rules if rule.source.value == "10.20.0.0/16"}
        assert ports <= {6432}, key


@given(groups=st.dictionaries(keys, roles, min_size=1))
def test_rules_of_one_group_and_source_never_overlap(groups: dict[str, list[Role]]) -> None:
    groups["pool"] = [Role.POOLER]
    for rules in topology.rules(topology.parse(groups, clients=["10.0.0.0/8"])).values():
        seen: set[tuple[Source, int]] = set()
        for rule in rules:
            ports = {(rule.source, port) for port in range(rule.first, rule.last + 1)}
            assert not ports & seen
            seen |= ports
        assert list(rules) == sorted(rules)


def ports(rules: tuple[Rule, ...], source: str) -> set[tuple[int, int]]:
    return {(rule.first, rule.last) for rule in rules if rule.source.value == source}


def test_without_a_pooler_clients_reach_postgresql() -> None:
    found = topology.rules(topology.parse({"db": ["database", "etcd"]}, clients=["10.20.0.0/16"]))
    assert ports(found["db"], "10.20.0.0/16") == {(5432, 5432)}


def test_without_a_jump_host_administrators_reach_every_host_and_the_dashboards() -> None:
    groups = {"pool": ["pooler"], "db": ["database", "etcd"], "mon": ["monitoring"], "lb": ["load_balancer"]}
    found = topology.rules(topology.parse(groups, administrators=["10.99.0.0/24"]))
    admin = "10.99.0.0/24"
    assert {key: ports(rules, admin) for key, rules in found.items()} == {
        "pool": {(22, 22)},
        "db": {(22, 22)},
        "mon": {(22, 22), (3000, 3000), (9090, 9090)},
        "lb": set(),
    }


def test_with_a_jump_host_administrators_reach_nothing_else() -> None:
    found = topology.rules(topology.parse(administrators=["10.99.0.0/24", "2001:db8::/32"]))
    for source in ("10.99.0.0/24", "2001:db8::/32"):
        assert {key for key, rules in found.items() if ports(rules, source)} == {"jump"}


def test_a_monitoring_of_others_reaches_what_ours_does() -> None:
    outside = topology.rules(topology.parse({"pool": ["pooler"], "db": ["database"]}, monitors=["sg-0a"]))
    assert ports(outside["pool"], "sg-0a") == {(9127, 9127), (9100, 9100)}
    assert ports(outside["db"], "sg-0a") == {(9187, 9187), (8008, 8008), (9100, 9100)}
    dcs = topology.rules(topology.parse({"dcs": ["etcd"]}, monitors=["sg-0a"]))["dcs"]
    assert ports(dcs, "sg-0a") == {(2381, 2381), (9100, 9100)}


def test_etcd_on_hosts_of_its_own_is_asked_by_the_database_hosts_alone() -> None:
    found = topology.rules(topology.parse({"db": ["database"], "dcs": ["etcd"], "pool": ["pooler"]}))
    assert ports(found["dcs"], "db") == {(2379, 2379)}
    assert ports(found["dcs"], "dcs") == {(2379, 2380)}
    assert ports(found["dcs"], "pool") == set()


def test_every_mistake_is_told_with_its_place_and_a_remedy() -> None:
    with pytest.raises(InvalidError) as caught:
        topology.parse({"Pool!": ["pooler"], "db": ["databse"]}, ["10.0.0.5/24"], client_port=70000)
    told = str(caught.value)
    assert "groups.Pool!: no name of a group" in told
    assert "groups.db: 'databse' is no role (did you mean 'database'?)" in told
    assert "clients[0]: 10.0.0.5/24 has host bits set" in told
    assert "client_port: 70000 is no port" in told


def test_a_load_balancer_without_poolers_is_refused() -> None:
    with pytest.raises(InvalidError, match="a load balancer without poolers"):
        topology.parse({"lb": ["load_balancer"], "db": ["database"]})


def test_no_groups_at_all_are_refused() -> None:
    with pytest.raises(InvalidError, match="groups: is empty"):
        topology.parse({})


def test_the_world_is_let_in_where_it_is_named() -> None:
    found = topology.rules(topology.parse({"pool": ["pooler"]}, ["0.0.0.0/0", "::/0"], open_to_world=[6432]))
    assert [str(rule) for rule in found["pool"]] == [
        "6432 from 0.0.0.0/0",
        "6432 from ::/0",
        "9127 from pool",
    ]
