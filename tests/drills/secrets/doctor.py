"""What `pooler doctor` says on the pooler host of certificates that end soon, that have ended, and of new ones."""

from __future__ import annotations

import json

from .scene import DATABASES, POOLER, Scene, asked

Finding = dict[str, str]

KNOWN = "vulnerabilities"
"""A check that always warns here: of holes which the engine of the lab's image has."""

ENDING = 2 + 2 * len(DATABASES)
"""Warnings of certificates that end: the pooler host's two; those that each PostgreSQL and each Patroni shows."""

ENDED = 2 + 1 + len(DATABASES)
"""Of those that have ended: the servers are known by Patroni's word, and without it the leader alone is."""


def expiries(scene: Scene, verdict: str, wanted: int) -> int:
    """How many certificates doctor has that verdict of, when it is as many as `wanted` or WAIT is over."""

    def such() -> list[Finding]:
        return [each for each in _findings(scene) if (each["check"], each["verdict"]) == ("expiry", verdict)]

    return len(asked(such, lambda found: len(found) >= wanted))


def troubles(scene: Scene) -> int:
    """How much is not as it should be, as soon as nothing is or when WAIT is over."""

    def such() -> list[Finding]:
        return [each for each in _findings(scene) if each["verdict"] != "ok" and each["check"] != KNOWN]

    left = asked(such, lambda found: not found)
    scene.wrong.extend(f"doctor: {each['check']} {each['place']}: {each['evidence']}" for each in left)
    return len(left)


def _findings(scene: Scene) -> list[Finding]:
    # Its exit status is the worst verdict.
    said = scene.fleet.sh(POOLER, "podman exec pgbouncer-agent pooler doctor --json || :")
    return list(json.loads(said)["findings"]) if said else []
