"""Grafana's unit, of which no image can be had: what podman's generator makes of it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import jinja2
import pytest
import yaml

from tests.lab import roots

ROLE = Path(__file__).parents[2] / "roles/monitoring"
_ENTER = """
mount --bind "$1" "$2/mnt"
exec chroot "$2" env QUADLET_UNIT_DIRS=/mnt /usr/lib/systemd/system-generators/podman-system-generator --dryrun
"""


@pytest.fixture
def unit() -> str:
    variables = yaml.safe_load((ROLE / "defaults/main.yml").read_text())
    variables |= yaml.safe_load((ROLE / "vars/main.yml").read_text())
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, trim_blocks=True)
    leaf = environment.from_string(variables["__monitoring_grafana_leaf"]).render(variables)
    text = (ROLE / "templates/grafana.container.j2").read_text()
    return environment.from_string(text).render(variables | {"__monitoring_grafana_leaf": leaf})


def generated(unit: str, place: Path) -> subprocess.CompletedProcess[str]:
    (place / "grafana.container").write_text(unit)
    command = ["unshare", "--mount", "sh", "-euc", _ENTER, "sh", str(place), str(roots.host_root())]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_podman_makes_a_service_of_it(unit: str, tmp_path: Path) -> None:
    done = generated(unit, tmp_path)
    assert done.returncode == 0, done.stderr
    (command,) = (line for line in done.stdout.splitlines() if line.startswith("ExecStart="))
    assert command.endswith(" docker.io/grafana/grafana:11.6.0")
    for said in ("--user 472:472", "--read-only", "--cap-drop all", "no-new-privileges", "GF_SERVER_PROTOCOL=https"):
        assert said in command
    assert "GF_SERVER_CERT_FILE=/etc/pgfleet/tls/grafana/current/tls.crt" in command


def test_the_generator_is_one_that_complains(unit: str, tmp_path: Path) -> None:
    done = generated(unit.replace("ReadOnly=", "ReadOnyl="), tmp_path)
    assert "ReadOnyl" in done.stdout + done.stderr
