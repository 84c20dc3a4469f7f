"""Whom the playbooks take poolers to follow: what an inventory says itself, or else its group `database`."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.playbooks import printed_by

VARIABLES = Path(__file__).parents[2] / "playbooks/vars/cluster.yml"
OWN = ["https://patroni1:8008", "https://patroni2:8008"]
MEMBERS = {"hosts": {"db1": {"ansible_host": "10.0.0.1"}, "db2": {"ansible_host": "10.0.0.2"}}}


@pytest.mark.parametrize(
    ("groups", "variables", "patroni"),
    [
        ({}, {"pgbouncer_patroni": OWN}, OWN),
        ({"database": MEMBERS}, {}, ["https://10.0.0.1:8008", "https://10.0.0.2:8008"]),
        ({"database": MEMBERS}, {"pgbouncer_patroni": OWN}, OWN),
        ({"database": MEMBERS}, {"pgbouncer_server": "127.0.0.1"}, []),
        ({}, {"pgbouncer_server": "db.example"}, []),
    ],
)
def test_what_the_inventory_says_goes_first(
    tmp_path: Path, groups: dict[str, Any], variables: dict[str, Any], patroni: list[str]
) -> None:
    verifiers = {"app": "SCRAM-SHA-256$4096:c2FsdA==$c3RvcmVk:c2VydmVy"}
    told = "<<{{ {'patroni': pgbouncer_patroni, 'verifiers': pgbouncer_verifiers} | to_json }}>>"
    task = {"ansible.builtin.debug": {"msg": told}}
    play = {"hosts": "pooler", "gather_facts": False, "vars_files": [str(VARIABLES)], "tasks": [task]}
    (tmp_path / "play.yml").write_text(yaml.safe_dump([play]))

    for given, made in ((variables, {}), (variables | {"pgbouncer_verifiers": verifiers}, verifiers)):
        printed = printed_by(tmp_path, groups, given, str(tmp_path / "play.yml"))
        found = re.search(r"<<(.*)>>", printed)
        assert found, printed
        assert json.loads(found[1].replace('\\"', '"')) == {"patroni": patroni, "verifiers": made}


def test_poolers_follow_a_cluster_of_somebody_else(tmp_path: Path) -> None:
    """What is refused is the capacity that was told, not that nobody could be followed."""
    variables = {
        "pgbouncer_patroni": OWN,
        "pgbouncer_databases": [{"name": "app"}],
        "pgbouncer_capacity": {"max_connections": 20},
        "pgbouncer_certificates": None,
    }
    printed = printed_by(tmp_path, {}, variables, "pgfleet.pooler.poolers")

    assert "max_connections 20" in printed
    assert "is empty" not in printed


@pytest.mark.parametrize(
    ("groups", "variables", "capacity"),
    [
        ({}, {"pgbouncer_patroni": OWN}, {"hosts": 1}),
        ({}, {"pgbouncer_patroni": OWN, "pgbouncer_capacity": {"users": 3}}, {"hosts": 1, "users": 3}),
        ({"database": MEMBERS}, {}, {"hosts": 1, "max_connections": 200}),
        ({}, {"pgbouncer_server": "db.example"}, {}),
    ],
)
def test_pools_are_counted_wherever_somebody_can_tell_how_many_fit(
    tmp_path: Path, groups: dict[str, Any], variables: dict[str, Any], capacity: dict[str, int]
) -> None:
    task = {"ansible.builtin.debug": {"msg": "<<{{ pgbouncer_capacity | to_json }}>>"}}
    files = [str(VARIABLES), str(VARIABLES.with_name("capacity.yml"))]
    play = {"hosts": "pooler", "gather_facts": False, "vars_files": files, "tasks": [task]}
    (tmp_path / "play.yml").write_text(yaml.safe_dump([play]))

    printed = printed_by(tmp_path, groups, variables, str(tmp_path / "play.yml"))

    found = re.search(r"<<(.*)>>", printed)
    assert found, printed
    assert json.loads(found[1].replace('\\"', '"')) == capacity
