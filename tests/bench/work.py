"""One task of the module `pgbouncer` on simulated hosts, in a process of its own: `python -m tests.bench.work JSON`.

Prints what it cost, as JSON. The collection is imported as Ansible does it, so that what is measured is what runs.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2] / "build"))

from ansible_collections.pgfleet.pooler.plugins.action import pgbouncer
from ansible_collections.pgfleet.pooler.plugins.plugin_utils import host as room
from ansible_collections.pgfleet.pooler.pooler import scram, variables

from . import simulated


@dataclass(frozen=True)
class Cost:
    """Seconds, MiB at the highest, and counts: of derivations, of trips to hosts, of changes found."""

    wall: float
    cpu: float
    mib: float
    derivations: int
    trips: int
    changes: int


def task(host: simulated.Host, options: simulated.Options) -> dict[str, Any]:
    """What the module would do in check mode: read the options, read the host, render, plan."""
    action = pgbouncer.ActionModule.__new__(pgbouncer.ActionModule)
    action.check, action.diff = True, False
    result: dict[str, Any] = action._present(room.Host("pool1", host.execute), variables.read(options), {}, None)
    return result


def measured(given: dict[str, Any]) -> Cost:
    """`given`: what `simulated.fleet` takes; the number of `hosts`; and what is found there: bare, same or size."""
    found, hosts = given.pop("found"), given.pop("hosts")
    options = simulated.fleet(**given)
    before = {**options, "databases": [{**each, "pool_size": 4} for each in options["databases"][:1]]}
    before["databases"] += options["databases"][1:]
    made = [simulated.Host() for _number in range(hosts)]
    for host in made:
        if found != "bare":
            host.converge(before if found == "size" else options)
    counted = _Counted()
    began, before_cpu = time.monotonic(), time.process_time()
    results = [task(host, options) for host in made]
    return Cost(
        time.monotonic() - began,
        time.process_time() - before_cpu,
        resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        counted.derivations,
        sum(result["trips"] for result in results),
        sum(len(result["effects"]) for result in results),
    )


class _Counted:
    """Derivations from now on, in this process."""

    def __init__(self) -> None:
        self.derivations = 0
        self._keys = scram.keys
        scram.keys = self._count

    def _count(self, *arguments: Any) -> Any:
        self.derivations += 1
        return self._keys(*arguments)


if __name__ == "__main__":
    print(json.dumps(asdict(measured(json.loads(sys.argv[1])))))
