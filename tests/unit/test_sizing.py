"""Sizes and the guard of every run: one arithmetic, from what clients want to what PostgreSQL has."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from pooler import capacity, cli, sizing, units, variables
from pooler.errors import InvalidError
from pooler.model import Capacity

FLEET = {"services": 12, "replicas": 3, "pool": 16, "max_connections": 200, "cores": 8, "hosts": 2}
OPTIONS: dict[str, Any] = {
    "image": "localhost/pgfleet/pooler:0.1.0",
    "patroni": ["https://db1:8008"],
    "databases": [{"name": "app", "pool_size": 20}],
}


def sizes(**changes: object) -> sizing.Sizes:
    return sizing.sizes(sizing.question(FLEET | changes))


def refusal(options: dict[str, Any]) -> str:
    with pytest.raises(InvalidError) as refused:
        variables.read(options)
    return str(refused.value)


def test_arithmetic_of_576_clients() -> None:
    found = sizes()

    # 200 - 10 reserved - 4 x (2 + 1) for auth_query and the agent - 2 x 2 of agents; 32 transactions on 4 pools.
    assert {line.what: line.figure for line in found.lines} == {
        "clients": 576,
        "too many without a pool": 386,
        "room": 174,
        "pools": 4,
        "transactions at the same time": 32,
        "default_pool_size": 8,
        "reserve_pool_size": 2,
        "max_db_connections": 86,
        "max_client_conn": 346,
        "server connections": 72,
        "nofile": 1716,
        "memory": 171,
    }
    assert found.settings == {
        "default_pool_size": 8,
        "reserve_pool_size": 2,
        "max_db_connections": 86,
        "max_client_conn": 346,
    }


def test_profiles_let_more_or_fewer_transactions_run() -> None:
    assert [sizes(profile=name).settings["default_pool_size"] for name in ("memory", "latency", "throughput")] == [
        2,
        4,
        8,
    ]


def test_clients_fit_on_the_hosts_that_are_left() -> None:
    assert sizes(spare=1).settings["max_client_conn"] == 692


def test_pools_that_do_not_fit_are_told_with_the_number_to_change() -> None:
    with pytest.raises(InvalidError) as refused:
        sizes(users=60)

    assert str(refused.value) == (
        "max_connections: 1 databases x 60 users x 2 instances x 2 hosts are 240 pools, and there is room for 174 "
        "connections: max_connections 200 - 10 reserved - 16 of our own "
        "(change max_connections to 266 or more, or instances to 1 or fewer, or users to 43 or fewer)"
    )
    for enough in ({"users": 60, "max_connections": 266}, {"users": 60, "instances": 1}, {"users": 43}):
        assert sizes(**enough).servers <= 266 - 10


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"cores": None}, "cores: is missing"),
        ({"clients": 5}, "clients: is to be given, or else services, replicas and pool"),
        ({"core": 3}, "core: is nothing that sizes depend on (did you mean 'cores'?)"),
        ({"pool": "many"}, "pool: 'many' is not a whole number"),
        ({"hosts": 0}, "hosts: 0 is not enough (at least 1)"),
        ({"spare": 2}, "spare: 2 of 2 hosts leave none (fewer than there are hosts)"),
        ({"profile": "fast"}, "profile: 'fast' is not a profile (one of memory, latency, throughput)"),
    ],
)
def test_question_that_makes_no_sense_is_refused(changes: dict[str, object], said: str) -> None:
    with pytest.raises(InvalidError) as refused:
        sizes(**changes)
    assert str(refused.value) == said


@settings(max_examples=40, deadline=None)
@given(
    st.fixed_dictionaries(
        {
            "clients": st.integers(1, 5000),
            "databases": st.integers(1, 5),
            "users": st.integers(1, 5),
            "hosts": st.integers(1, 4),
            "instances": st.integers(1, 4),
            "max_connections": st.integers(20, 1000),
            "cores": st.integers(1, 64),
            "profile": st.sampled_from(["throughput", "latency", "memory"]),
        }
    )
)
def test_what_is_sized_passes_the_guard_of_a_run(asked: dict[str, Any]) -> None:
    try:
        found = sizing.sizes(sizing.question(asked))
    except InvalidError:
        assume(False)
    told = {"max_connections": asked["max_connections"], "hosts": asked["hosts"], "users": asked["users"]}
    names = [{"name": f"app{number}"} for number in range(asked["databases"])]

    pooler = variables.read(
        OPTIONS
        | {"databases": names, "instances": asked["instances"], "settings": dict(found.settings), "capacity": told}
    )

    pools = list(capacity.pools_of(pooler, asked["users"]))
    counted = capacity.total(pools, asked["hosts"] * asked["instances"]) + capacity.AGENT_DIRECT * asked["hosts"]
    assert counted <= found.servers <= asked["max_connections"] - 10
    assert (units.nofile(pooler), units.memory_max(pooler)) == (found.nofile, found.memory)


def test_run_whose_pools_cannot_fit_is_refused_with_the_sum() -> None:
    told = {"max_connections": 100, "hosts": 3}

    assert refusal(OPTIONS | {"capacity": told}) == (
        "capacity: the pools may open 138 connections, (app 20 + pgbouncer_auth 2 + the agent's 1) x 2 instances "
        "x 3 hosts, and there is room for 84: max_connections 100 - 10 reserved - 6 of agents "
        "(lower pool_size of app to 11, or raise max_connections to 154)"
    )
    assert variables.read(OPTIONS | {"capacity": told | {"max_connections": 154}})
    assert variables.read(OPTIONS | {"capacity": told, "databases": [{"name": "app", "pool_size": 11}]})
    assert variables.read(OPTIONS | {"capacity": told, "databases": [{"name": "app", "max_db_connections": 22}]})
    assert variables.read(OPTIONS)


INVENTORY = """
all:
  vars: {ansible_connection: local, pgbouncer_databases: [{name: app}], pgbouncer_certificates: null}
  children:
    database: {hosts: {db1: {ansible_host: 10.0.0.1}}}
    pooler: {hosts: {pool1: {}, pool2: {}, pool3: {}}}
"""


@pytest.mark.parametrize(
    ("told", "room"),
    [
        (
            {"spilo_configuration": {"bootstrap": {"dcs": {"postgresql": {"parameters": {"max_connections": 90}}}}}},
            "74: max_connections 90 - 10 reserved - 6 of agents",
        ),
        ({"pgbouncer_capacity": {"users": 2}}, "184: max_connections 200 - 10 reserved - 6 of agents"),
        ({"pgbouncer_capacity": {"reserved": 60, "max_connections": 180}}, "114: max_connections 180 - 60 reserved"),
    ],
)
def test_site_counts_for_the_cluster_in_the_inventory_without_being_asked(
    tmp_path: Path, told: dict[str, Any], room: str
) -> None:
    """By the real ansible-playbook; nothing is reached, since it is refused before that."""
    inventory = yaml.safe_load(INVENTORY)
    inventory["all"]["vars"] |= told
    (tmp_path / "inventory.yml").write_text(yaml.safe_dump(inventory))
    command = ["ansible-playbook", "--inventory", str(tmp_path / "inventory.yml"), "--limit", "pool1"]

    done = subprocess.run([*command, "pgfleet.pooler.poolers"], capture_output=True, text=True, check=False)

    assert f"x 2 instances x 3 hosts, and there is room for {room}" in done.stdout + done.stderr


def test_the_connections_that_site_counts_are_the_default_of_the_role() -> None:
    root = Path(__file__).parents[2]
    default = yaml.safe_load((root / "roles/spilo/defaults/main.yml").read_text())["spilo_max_connections"]

    assert f"default({default})" in (root / "playbooks/vars/capacity.yml").read_text()


def test_pools_are_counted_for_each_user_but_where_one_is_forced() -> None:
    databases = [{"name": "app", "pool_size": 5}, {"name": "one", "pool_size": 4, "user": "one", "password": "x"}]
    pooler = variables.read(OPTIONS | {"databases": databases, "settings": {"reserve_pool_size": 2}})

    found = {pool.database: pool.most for pool in capacity.pools_of(pooler, users=3)}

    assert found == {"app": 3 * (5 + 2), "one": 4 + 2, "pgbouncer_auth": 2 + 2, "the agent's": 1 + 2}


def test_databases_on_other_servers_do_not_count() -> None:
    databases = [
        {"name": "other", "host": "db9", "pool_size": 500},
        {"name": "ro", "target": "replica", "pool_size": 7},
    ]
    alone = OPTIONS | {"databases": databases, "agent": {"replica_fallback": False}}

    for options, counted in ((OPTIONS | {"databases": databases}, {"ro"}), (alone, set())):
        found = {pool.database for pool in capacity.pools_of(variables.read(options), users=1)}
        assert found == counted | {"pgbouncer_auth", "the agent's"}


def test_pools_without_a_bound_are_refused() -> None:
    unlimited = OPTIONS | {"databases": [{"name": "app", "pool_size": 0}], "capacity": {"max_connections": 500}}

    assert refusal(unlimited).startswith("databases.app: has pools without a limit")
    assert variables.read(unlimited | {"settings": {"max_db_connections": 50}})


def test_overflow_is_told_for_one_host() -> None:
    pooler = variables.read(OPTIONS | {"instances": 1, "agent": {"enabled": False}, "server": "db1", "patroni": []})

    assert capacity.overflow(pooler, Capacity(max_connections=32)) == []
    assert len(capacity.overflow(pooler, Capacity(max_connections=31))) == 1


def test_size_prints_the_table_and_the_settings(capsys: pytest.CaptureFixture[str]) -> None:
    numbers = {"services": 12, "replicas": 3, "pool": 16, "max-connections": 200, "cores": 8, "hosts": 2}
    command = ["size", *(f"--{name}={number}" for name, number in numbers.items())]

    assert cli.main(command) == 0
    printed = capsys.readouterr().out
    assert re.search(r"^too many without a pool +386  beyond 200 - 10 reserved$", printed, re.MULTILINE)
    assert printed.endswith("  max_db_connections: 86\n  max_client_conn: 346\n")
    assert cli.main([*command, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["settings"] == dict(sizes().settings)


def test_size_says_what_is_wrong(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["size", "--clients", "9", "--max-connections", "12", "--cores", "1"]) == 1
    assert "room for 0 connections" in capsys.readouterr().err


def test_size_tells_how_long_clients_will_wait(capsys: pytest.CaptureFixture[str]) -> None:
    command = ["size", "--clients=80", "--instances=1", "--max-connections=100", "--cores=2"]

    assert cli.main([*command, "--held=20", "--between=0"]) == 0
    # 8 connections do 400 transactions of 20 ms a second, and 80 clients without a pause are served in turn.
    assert "\nA transaction waits 180.0 ms for a server connection. A pool does 400 a second" in capsys.readouterr().out
    assert cli.main([*command, "--held=20", "--between=0", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["waiting"]["seconds"] == pytest.approx(0.18)
    assert cli.main([*command, "--held=20"]) == 1
    assert cli.main([*command, "--held=0", "--between=0"]) == 1
