"""What dashboards and alert rules ask, as Prometheus can be asked it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import yaml

_ROLE = Path(__file__).parents[3] / "roles/monitoring"
_METRIC = re.compile(r"\b(?:pgbouncer|pgfleet|pg|up)(?:_(?!agent\.)\w+)?\b(?=\{|\[| [=<>+/-]|\)|$)", re.MULTILINE)


def of_dashboards(instance: str) -> Mapping[str, str]:
    """Each query by where it is asked; `instance` is the one that is looked at."""
    found = {}
    for path in sorted((_ROLE / "files/dashboards").glob("*.json")):
        for panel in json.loads(path.read_text())["panels"]:
            for target in panel.get("targets", []):
                query = target["expr"].replace("$__rate_interval", "30s").replace("$instance", instance)
                found[f"{path.stem}: {panel['title']} ({target['refId']})"] = query
    return found


def of_alerts() -> Mapping[str, str]:
    """The metrics that each alert is decided by: the alert itself is silent where nothing is wrong."""
    return {
        f"{alert}: {metric}": f"count({metric})"
        for alert, expression in _alerts()
        for metric in sorted(set(_METRIC.findall(expression)))
    }


def alerts() -> list[str]:
    return [alert for alert, _expression in _alerts()]


def _alerts() -> Iterator[tuple[str, str]]:
    text = re.sub(r"\[\[.*?\]\]", "x", (_ROLE / "templates/alerts.yml.j2").read_text())
    for rule in yaml.safe_load(text)["groups"][0]["rules"]:
        yield rule["alert"], rule["expr"]
