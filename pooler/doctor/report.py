"""What was found on a host, as text, as JSON, and held against what was found on others."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ..errors import PoolerError
from .checks import examine
from .checks.limits import POOLS, most_connections
from .facts import Facts
from .finding import Finding, Verdict, failed, ok, worst

LEADER = "leader"


@dataclass(frozen=True)
class Report:
    """`leader` is whom the agent follows, or empty. `needs` are the server connections of all pools of the host, and
    `room` those that PostgreSQL has; None when they are not known, or without a limit.
    """

    host: str
    findings: tuple[Finding, ...]
    leader: str = ""
    needs: float | None = None
    room: int | None = None

    @classmethod
    def of(cls, facts: Facts) -> Report:
        needs = most_connections(facts)
        return cls(
            facts.host,
            tuple(examine(facts)),
            str((facts.status or {}).get("leader") or ""),
            needs if needs is not None and math.isfinite(needs) else None,
            next((each.room for each in facts.servers.values() if each.writable), None),
        )

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> Report:
        """Of what `data` made. Raises PoolerError."""
        try:
            findings = tuple(Finding(**{**each, "verdict": Verdict(each["verdict"])}) for each in data["findings"])
            return cls(data["host"], findings, data["leader"], data["needs"], data["room"])
        except (KeyError, TypeError, ValueError):
            raise PoolerError("its answer is not understood: is another version of pooler there?") from None

    def data(self) -> dict[str, Any]:
        return asdict(self)


def fleet(reports: Sequence[Report]) -> list[Finding]:
    """What only several hosts together can get wrong."""
    if len(reports) < 2:
        return []
    findings = []
    leaders = {report.host: report.leader for report in reports if report.leader}
    if len(set(leaders.values())) > 1:
        said = ", ".join(f"{host} follows {leader}" for host, leader in leaders.items())
        findings.append(failed(LEADER, "all hosts", said, "journalctl -u pgbouncer-agent, on each of them"))
    elif leaders:
        findings.append(ok(LEADER, "all hosts", f"{len(leaders)} agents follow {next(iter(leaders.values()))}"))
    needs = [report.needs for report in reports if report.needs is not None]
    room = next((report.room for report in reports if report.room is not None), None)
    if needs and room is not None:
        said = f"pools of {len(needs)} hosts may grow to {sum(needs):.0f} connections, and PostgreSQL has {room}"
        remedy = "smaller pools, or a larger max_connections: pooler size"
        findings.append(failed(POOLS, "all hosts", said, remedy) if sum(needs) > room else ok(POOLS, "all hosts", said))
    return findings


def text(findings: Sequence[Finding]) -> str:
    """A line for each, and one more where there is something to be done; what is well comes first."""
    verdicts, checks = (
        max((len(getattr(each, name)) for each in findings), default=0) for name in ("verdict", "check")
    )
    lines = []
    for each in sorted(findings, key=lambda each: each.verdict is not Verdict.OK):
        verdict = each.verdict.upper() if each.verdict is Verdict.FAILED else each.verdict
        lines.append(f"{verdict:{verdicts}}  {each.check:{checks}}  {each.place}: {each.evidence}")
        if each.remedy:
            lines.append(f"{'':{verdicts}}  {'':{checks}}  -> {each.remedy}")
    counts = {verdict: sum(each.verdict is verdict for each in findings) for verdict in Verdict}
    lines.append(", ".join(f"{count} {verdict}" for verdict, count in counts.items() if count))
    return "\n".join(lines)


def to_json(findings: Sequence[Finding]) -> str:
    """One line: the worst verdict, and every finding."""
    return json.dumps({"verdict": worst(findings), "findings": [asdict(each) for each in findings]})
