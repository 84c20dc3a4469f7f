"""The other places poolers run: a Compose project with its PostgreSQL, and the pod of Kubernetes, both on a lab host.

    make drills ONLY=targets [EVENTS=compose,kubernetes]

podman-compose runs here, with the podman of the host; the pod is played by that podman, in the network of the project.
The short form leaves out what waits: the acceptance of the main job, and the death of an agent that hangs.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.drills.figures import Figure
from tests.lab import life, spec

from . import compose, kubernetes
from .stage import Stage

LAB = {
    "name": "drill-targets",
    "subnet": "10.77.6.0/24",
    "hosts": {"pool1": {"groups": ["pooler"], "images": ["spilo", "pooler"]}},
}
EVENTS = ("compose", "kubernetes")


def run(short: bool, runs: int = 1, events: Sequence[str] = ()) -> list[Figure]:
    """The pod needs the project, which is brought up in any case."""
    if unknown := {*events} - {*EVENTS}:
        raise SystemExit(f"no such events: {', '.join(sorted(unknown))} (there are {', '.join(EVENTS)})")
    lab, figures = spec.parse(LAB), []
    for _number in range(runs):
        life.down(lab.name)
        life.up(lab)
        try:
            with tempfile.TemporaryDirectory(prefix="pgfleet-") as place:
                stage = Stage(lab.name, lab.hosts[0].name, lab.hosts[0].address, Path(place))
                up = compose.up(stage)
                if not events or "compose" in events:
                    figures += [*up, *compose.rows(stage, short=short)]
                if not events or "kubernetes" in events:
                    figures += kubernetes.rows(stage, short=short)
        finally:
            life.down(lab.name)
    return figures
