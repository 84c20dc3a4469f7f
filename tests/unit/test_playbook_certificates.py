"""Which certificates the playbook has a host get: those of every group that it is in."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import yaml

PLAYBOOK = Path(__file__).parents[2] / "playbooks/certificates.yml"
GROUPS = {"database": ["db1", "both"], "pooler": ["pool1", "both"], "monitoring": ["watch"]}
DATABASE = ["/etc/pgfleet/tls/patroni", "/etc/pgfleet/tls/spilo"]
POOLER = ["/etc/pgbouncer/tls/client", "/etc/pgbouncer/tls/server"]
MONITORING = ["/etc/pgfleet/tls/grafana", "/etc/pgfleet/tls/prometheus"]
EXPORTERS, POSTGRES = ["/etc/pgfleet/tls/exporters"], ["/etc/pgfleet/tls/postgres_exporter"]


def directories(place: Path, groups: dict[str, list[str]]) -> dict[str, list[str]]:
    """Of the leaves that the first role is given, by host; sorted."""
    (play,) = yaml.safe_load(PLAYBOOK.read_text())
    leaves = play["tasks"][0]["vars"]["certificates_leaves"]
    told = {"<<": "{{ inventory_hostname }}", "leaves": leaves}
    asked = {
        "hosts": "all",
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


def test_a_host_in_two_groups_gets_the_certificates_of_both(tmp_path: Path) -> None:
    groups = {name: hosts for name, hosts in GROUPS.items() if name != "monitoring"}
    assert directories(tmp_path, groups) == {"db1": DATABASE, "pool1": POOLER, "both": sorted(DATABASE + POOLER)}


def test_who_is_looked_at_gets_certificates_for_that(tmp_path: Path) -> None:
    assert directories(tmp_path, GROUPS) == {
        "db1": sorted(DATABASE + EXPORTERS + POSTGRES),
        "pool1": sorted(POOLER + EXPORTERS),
        "both": sorted(DATABASE + POOLER + EXPORTERS + POSTGRES),
        "watch": sorted(MONITORING + EXPORTERS),
    }
