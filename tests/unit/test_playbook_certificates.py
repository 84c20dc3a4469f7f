"""Which certificates the playbook has a host get: those of every group that it is in, but for the instances'."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.playbooks import printed_by

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


BOTH = [{"directory": f"/etc/pgbouncer/tls/{use}"} for use in ("server", "client")]
INCOMPLETE = "missing required arguments: authority, certificate, private_key found in pgbouncer_certificates"


def poolers(place: Path, given: dict[str, Any]) -> str:
    """What is said, which never gets as far as a host."""
    pools = {"pgbouncer_databases": [{"name": "app"}], "pgbouncer_capacity": {"max_connections": 20}}
    variables = {"pgbouncer_patroni": ["https://patroni1:8008"], **pools, **given}
    return printed_by(place, {}, variables, "pgfleet.pooler.poolers")


@pytest.mark.parametrize("brought", [[], BOTH[:1]])
def test_the_authority_is_asked_for_where_instances_get_certificates_of_it(
    tmp_path: Path, brought: list[dict[str, str]]
) -> None:
    assert "set certificates_passphrase_file" in poolers(tmp_path, {"certificates_brought": brought})


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"pgbouncer_certificates": None}, REFUSED),
        ({"playbook_certificates": False}, REFUSED),
        ({"certificates_brought": BOTH}, INCOMPLETE),
    ],
)
def test_nobody_asks_for_the_passphrase_where_nothing_is_issued(
    tmp_path: Path, given: dict[str, Any], said: str
) -> None:
    asked = tmp_path / "asked"
    printed = poolers(tmp_path, {"certificates_passphrase_command": f"touch {asked}; echo x", **given})
    assert said in printed
    assert not asked.exists()


def test_what_the_inventory_says_of_the_certificates_goes_first(tmp_path: Path) -> None:
    given = {"certificates_passphrase": "x", "pgbouncer_certificates": {"key_type": "none"}}
    printed = poolers(tmp_path, given)
    assert "value of key_type must be one of: ecdsa, rsa, ed25519, got: none found in pgbouncer_certificates" in printed
