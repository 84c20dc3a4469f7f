"""What a check says: a verdict, what it is based on, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Finding:
    """`check` is the name of what was checked, `place` where; `remedy` is empty when there is nothing to be done."""

    check: str
    place: str
    verdict: Verdict
    evidence: str
    remedy: str = ""


EXIT_STATUS = {Verdict.OK: 0, Verdict.WARNING: 1, Verdict.FAILED: 2, Verdict.UNKNOWN: 3}
"""As monitoring plugins have it (Nagios and those that followed)."""

_FROM_BAD_TO_GOOD = (Verdict.FAILED, Verdict.UNKNOWN, Verdict.WARNING, Verdict.OK)


def worst(findings: Iterable[Finding]) -> Verdict:
    """Of no findings: unknown."""
    said = {finding.verdict for finding in findings} or {Verdict.UNKNOWN}
    return next(verdict for verdict in _FROM_BAD_TO_GOOD if verdict in said)


def ok(check: str, place: str, evidence: str) -> Finding:
    return Finding(check, place, Verdict.OK, evidence)


def warning(check: str, place: str, evidence: str, remedy: str) -> Finding:
    return Finding(check, place, Verdict.WARNING, evidence, remedy)


def failed(check: str, place: str, evidence: str, remedy: str) -> Finding:
    return Finding(check, place, Verdict.FAILED, evidence, remedy)


def unknown(check: str, place: str, evidence: str, remedy: str) -> Finding:
    return Finding(check, place, Verdict.UNKNOWN, evidence, remedy)
