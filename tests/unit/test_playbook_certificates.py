"""Which certificates the playbook has a host get: those of every group that it is in, but for the instances'."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

PLAYBOOK = Path(__file__).parents[2] / "playbooks/certificates.yml"
GROUPS = {"database": ["db1", "both"], "pooler": ["pool1", "both"], "monitoring": ["watch"]}
DATABASE = ["/etc/pgfleet/tls/patroni", "/etc/pgfleet/tls/spilo"]
MONITORING = ["/etc/pgfleet/tls/grafana", "/etc/pgfleet/tls/prometheus"]
EXPORTERS, POSTGRES = ["/etc/pgfleet/tls/exporters"], ["/etc/pgfleet/tls/postgres_exporter"]

REFUSED = "there is room for 8: max_connections 20 - 10 reserved - 2 of agents"


def directories(place: Path, groups: dict[str, list[str]]) -> dict[str, list[str]]:
    """Of the leaves that the first role is given, by host; sorted."""
    (play,) = yaml.safe_load(PLAYBOOK.read_text())
    leaves = play["tasks"][0]["vars"]["certificates_leaves"]
    told = {"<<": "{{ inventory_hostname }}", "leaves": leaves}
    asked = {
        "hosts": play["hosts"],
        "gather_facts": False,
        "vars": {**play["vars"], "told": told},
        "tasks": [{"ansible.builtin.debug": {"msg": "<<{{ told | to_json }}>>"}}],
    }
    (place / "play.yml").write_text(yaml.safe_dump([asked]))
    inventory: dict[str, Any] = {name: {"hosts": {host: {} for host in hosts}} for name, hosts in groups.items()}
    (place / "inventory.yml").write_text(
        yaml.safe_dump({"all": {"vars": {"ansible_connection": "local"}}, **inventory})
    )
    command = ["ansible-playbook", "--inventory", str(place / "inventory.yml"), str(place / "play.yml")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    found = [json.loads(each.replace('\\"', '"')) for each in re.findall(r"<<(.*)>>", done.stdout)]
    assert found, done.stdout + done.stderr
    return {each["<<"]: sorted(leaf["directory"] for leaf in each["leaves"]) for each in found}


def test_a_database_host_that_is_a_pooler_as_well_gets_those_of_the_database(tmp_path: Path) -> None:
    groups = {name: hosts for name, hosts in GROUPS.items() if name != "monitoring"}
    assert directories(tmp_path, groups) == {"db1": DATABASE, "both": DATABASE}


def test_who_is_looked_at_gets_certificates_for_that(tmp_path: Path) -> None:
    assert directories(tmp_path, GROUPS) == {
        "db1": sorted(DATABASE + EXPORTERS + POSTGRES),
        "pool1": EXPORTERS,
        "both": sorted(DATABASE + EXPORTERS + POSTGRES),
        "watch": sorted(MONITORING + EXPORTERS),
    }


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "set certificates_passphrase_file"),
        ({"pgbouncer_certificates": None}, REFUSED),
        ({"playbook_certificates": False}, REFUSED),
        ({"certificates_brought": [{"directory": "/etc/pgbouncer/tls/server"}]}, "set certificates_passphrase_file"),
        (
            {"certificates_brought": [{"directory": f"/etc/pgbouncer/tls/{use}"} for use in ("server", "client")]},
            "missing required arguments: authority, certificate, private_key found in pgbouncer_certificates",
        ),
    ],
)
def test_the_authority_is_asked_for_where_instances_get_certificates_of_it(
    tmp_path: Path, given: dict[str, Any], said: str
) -> None:
    """By the real ansible-playbook, which never gets as far as a host."""
    pools = {"pgbouncer_databases": [{"name": "app"}], "pgbouncer_capacity": {"max_connections": 20}}
    variables = {"ansible_connection": "local", "pgbouncer_patroni": ["https://patroni1:8008"], **pools, **given}
    (tmp_path / "inventory.yml").write_text(yaml.safe_dump({"pooler": {"hosts": {"pool1": {}}, "vars": variables}}))
    command = ["ansible-playbook", "--inventory", str(tmp_path / "inventory.yml"), "pgfleet.pooler.poolers"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert said in done.stdout + done.stderr
