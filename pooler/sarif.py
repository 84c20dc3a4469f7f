"""Findings of lint as SARIF 2.1.0 (OASIS), which code hosts show beside the lines of a change."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

from . import __version__
from .lint import RULES, Finding


def render(findings: Sequence[Finding]) -> dict[str, Any]:
    """One run, to be written as JSON."""
    rules = [
        {"id": rule.name, "shortDescription": {"text": rule.about}, "defaultConfiguration": {"level": rule.level}}
        for rule in RULES.values()
    ]
    driver = {"name": "pooler lint", "version": __version__, "rules": rules}
    return {
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{"tool": {"driver": driver}, "results": [_result(finding) for finding in findings]}],
    }


def _result(finding: Finding) -> dict[str, Any]:
    remedy = finding.problem.remedy
    return {
        "ruleId": finding.rule,
        "ruleIndex": list(RULES).index(finding.rule),
        "level": finding.level,
        "message": {"text": f"{finding.problem.what}. {remedy}" if remedy else finding.problem.what},
        "locations": [
            {
                "physicalLocation": {
                    "artifactLocation": {"uri": quote(finding.file)},
                    "region": {"startLine": finding.line},
                }
            }
        ],
    }
