"""Dashboards are what their Python says, are what Grafana's schema says, and ask for metrics that there are."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import jinja2
import jsonschema
import pytest
import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard

from pooler.metrics import exporter, ours

CHECKOUT = Path(__file__).parents[2]
ROLE = CHECKOUT / "roles/monitoring"
BOARDS = sorted((ROLE / "files/dashboards").glob("*.json"))

TEXT = {"type": "string", "minLength": 1}
PROVISIONED = {
    "datasources": {
        "name": TEXT,
        "uid": TEXT,
        "type": {"const": "prometheus"},
        "access": {"enum": ["proxy", "direct"]},
        "url": {"type": "string", "pattern": "^https?://"},
        "isDefault": {"type": "boolean"},
        "editable": {"type": "boolean"},
        "jsonData": {"type": "object"},
    },
    "providers": {
        "name": TEXT,
        "folder": TEXT,
        "type": {"const": "file"},
        "disableDeletion": {"type": "boolean"},
        "allowUiUpdates": {"type": "boolean"},
        "options": {"type": "object", "required": ["path"], "properties": {"path": TEXT}},
    },
}
"""What Grafana's manual says of the entries of a provisioning file."""


def test_the_committed_dashboards_are_what_the_tool_makes() -> None:
    command = [sys.executable, "-m", "tools.dashboards", "--check"]
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert len(BOARDS) == 4


@pytest.mark.parametrize("path", BOARDS, ids=lambda path: path.stem)
def test_grafanas_model_keeps_all_that_a_dashboard_says(path: Path) -> None:
    said = json.loads(path.read_text())
    assert json.loads(JSONEncoder().encode(Dashboard.from_json(said))) == said
    numbers = [panel["id"] for panel in said["panels"]]
    assert len(set(numbers)) == len(numbers)


@pytest.mark.parametrize("path", BOARDS, ids=lambda path: path.stem)
def test_every_row_asks_a_question_and_every_panel_below_answers_it(path: Path) -> None:
    rows = [panel["title"] for panel in panels(path) if panel["type"] == "row"]
    assert rows
    assert all(row.endswith("?") for row in rows)
    assert all(queries(panel) for panel in panels(path) if panel["type"] != "row")


@pytest.mark.parametrize("path", [*BOARDS, ROLE / "templates/alerts.yml.j2"], ids=lambda path: path.stem)
def test_what_is_asked_of_the_agent_is_what_it_tells(path: Path) -> None:
    told = {family.name for family in (*exporter.FAMILIES, *ours.FAMILIES)}
    asked = set(re.findall(r"\b(?:pgbouncer|pgfleet)_(?!agent)\w+", path.read_text()))
    assert asked
    assert asked <= told


@pytest.mark.parametrize(("template", "kind"), [("datasources", "datasources"), ("dashboards", "providers")])
def test_what_is_provisioned_is_what_grafana_reads(template: str, kind: str) -> None:
    variables = {"monitoring_interval": "15s", "__monitoring_grafana": "/etc/pgfleet/grafana"}
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined)
    text = environment.from_string((ROLE / f"templates/{template}.yml.j2").read_text()).render(variables)
    entry = {"type": "object", "properties": PROVISIONED[kind], "additionalProperties": False}
    schema = {
        "type": "object",
        "required": ["apiVersion", kind],
        "additionalProperties": False,
        "properties": {
            "apiVersion": {"const": 1},
            kind: {"type": "array", "minItems": 1, "items": {**entry, "required": ["name", "type"]}},
        },
    }
    jsonschema.validate(yaml.safe_load(text), schema)


def panels(path: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(path.read_text())["panels"]
    return found


def queries(panel: dict[str, Any]) -> list[str]:
    return [target["expr"] for target in panel["targets"]]
