"""Playbooks played by the real ansible-playbook for one pooler host, which is this machine."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import yaml


def printed_by(place: Path, groups: dict[str, Any], variables: dict[str, Any], playbook: str) -> str:
    """Everything that is printed. `groups` are more groups of the inventory, which is written to `place`."""
    local = {"ansible_connection": "local"}
    pooler = {"hosts": {"pool1": {}}, "vars": variables}
    (place / "inventory.yml").write_text(yaml.safe_dump({"all": {"vars": local}, "pooler": pooler, **groups}))
    command = ["ansible-playbook", "--inventory", str(place / "inventory.yml"), playbook]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout + done.stderr
