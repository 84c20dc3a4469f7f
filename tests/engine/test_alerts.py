"""The alert rules and Prometheus's configuration, by Prometheus's own tool."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import jinja2
import pytest
import yaml

from tests.lab.images import monitoring

CHECKOUT = Path(__file__).parents[2]
ROLE = CHECKOUT / "roles/monitoring"
RUNBOOKS = CHECKOUT / "docs/runbooks"
_ENTER = """
mount --bind "$1" "$2/mnt"
root=$2
shift 2
exec chroot "$root" sh -c 'cd /mnt; exec promtool "$@"' sh "$@"
"""
HOSTS = {"pool1": "10.0.2.11", "pool2": "fd00::12"}


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    """The rule file as the role writes it."""
    path = tmp_path / "alerts.yml"
    path.write_text(
        rendered("alerts.yml.j2", {"monitoring_runbooks": "runbooks", "monitoring_alerts_for": ""}, square=True)
    )
    return path


def rendered(template: str, variables: Mapping[str, object], *, square: bool = False) -> str:
    opening, closing = ("[[", "]]") if square else ("{{", "}}")
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(ROLE / "templates"),
        trim_blocks=True,
        undefined=jinja2.StrictUndefined,
        variable_start_string=opening,
        variable_end_string=closing,
    )
    return environment.get_template(template).render(variables)


def promtool(*arguments: str, place: Path) -> subprocess.CompletedProcess[str]:
    """It sees the directory `place` as /mnt."""
    command = ["unshare", "--mount", "sh", "-euc", _ENTER, "sh", str(place), str(monitoring.root()), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_every_alert_fires_while_its_trouble_lasts(rules: Path) -> None:
    shutil.copy(Path(__file__).with_name("alerts.yml"), rules.with_name("tests.yml"))
    done = promtool("test", "rules", "tests.yml", place=rules.parent)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_is_tried(rules: Path) -> None:
    tests = yaml.safe_load(Path(__file__).with_name("alerts.yml").read_text())["tests"]
    tried = {case["alertname"] for test in tests for case in test["alert_rule_test"] if "exp_alerts" in case}
    assert tried == {rule["alert"] for rule in of(rules)}


def test_rules_and_configuration_are_what_prometheus_takes(rules: Path) -> None:
    checked = promtool("check", "rules", "alerts.yml", place=rules.parent)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    variables = {
        **{f"monitoring_{kind}": HOSTS for kind in ("poolers", "databases", "etcd")},
        "monitoring_nodes": {},
        "monitoring_interval": "15s",
        "__monitoring_leaf": "/mnt/leaf",
        "__monitoring_prometheus": "/mnt",
    }
    leaf = rules.parent / "leaf"
    leaf.mkdir()
    for name in ("ca.crt", "tls.crt", "tls.key"):
        (leaf / name).touch()
    (rules.parent / "prometheus.yml").write_text(rendered("prometheus.yml.j2", variables))
    checked = promtool("check", "config", "prometheus.yml", place=rules.parent)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    jobs = {
        job["job_name"]: job for job in yaml.safe_load((rules.parent / "prometheus.yml").read_text())["scrape_configs"]
    }
    assert [job["targets"] for job in jobs["pgbouncer"]["static_configs"]] == [["10.0.2.11:9127"], ["[fd00::12]:9127"]]
    assert jobs["node"]["static_configs"] == []


def test_every_alert_has_a_runbook_and_every_runbook_an_alert(rules: Path) -> None:
    pages = {rule["annotations"]["runbook_url"].removeprefix("runbooks/"): rule["alert"] for rule in of(rules)}
    assert set(pages) == {path.name for path in RUNBOOKS.glob("*.md")}
    for page, alert in pages.items():
        text = (RUNBOOKS / page).read_text()
        assert text.startswith(f"# {alert}\n")
        assert {"**See**", "**Do**", "**Reproduced**"} <= set(re.findall(r"\*\*\w+\*\*", text)), page


def of(rules: Path) -> list[dict[str, dict[str, str]]]:
    (group,) = yaml.safe_load(rules.read_text())["groups"]
    found: list[dict[str, dict[str, str]]] = group["rules"]
    return found
