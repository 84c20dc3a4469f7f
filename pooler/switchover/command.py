"""`pooler switchover`, `restart-leader` and `cluster`, run beside an agent, whose configuration they take."""

from __future__ import annotations

import contextlib
import json
import signal
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from threading import Event

from ..agent.config import AgentConfig
from ..agent.hosts import HostsFile
from ..errors import PoolerError
from . import report
from .coordinator import Coordinator, Limits, rest
from .pipeline import Taken
from .report import Report


@dataclass(frozen=True)
class Options:
    """`config` is the agent's file; `patroni` are URLs to use instead of those in it."""

    config: str
    patroni: tuple[str, ...] = ()
    agents: tuple[str, ...] = ()
    limits: Limits = field(default_factory=Limits)
    check: bool = False
    as_json: bool = False


def switchover(options: Options, candidate: str | None) -> int:
    """Exit status: 0 done, 1 not done or clients waited too long."""
    return _carry_out(options, lambda coordinator: coordinator.switchover(candidate))


def restart(options: Options) -> int:
    """Exit status: 0 done, 1 not done or clients waited too long."""
    return _carry_out(options, Coordinator.restart)


def cluster(options: Options) -> int:
    """Print the members of the cluster. Raises PoolerError when Patroni does not answer."""
    patroni = rest(_config(options))
    found, synchronous = patroni.cluster(), patroni.synchronous()
    if options.as_json:
        leaders = [each.name for each in found.members if each.leads and each.state == "running"]
        leader = leaders[0] if len(leaders) == 1 else ""
        print(json.dumps({**asdict(found), "leader": leader, "synchronous": synchronous}))
        return 0
    rows = [("member", "role", "state", "address", "lag")]
    rows += [
        (each.name, each.role, each.state, f"{each.host}:{each.port}", "" if each.leads else str(each.lag))
        for each in found.members
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        print("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip())
    if found.paused:
        print("Patroni is in maintenance mode")
    if found.scheduled:
        print(f"a switchover is scheduled: {found.scheduled}")
    return 0


def _carry_out(options: Options, work: Callable[[Coordinator], Report]) -> int:
    stop = Event()
    # A lost terminal or connection ends nobody's wait, so the run goes on without it; who asks for the end gets it
    # between two steps, when it can be undone.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    for asked in (signal.SIGINT, signal.SIGTERM):
        signal.signal(asked, lambda _signal, _frame: stop.set())
    config = _config(options)
    coordinator = Coordinator(options.agents, config, _databases(config), options.limits, _tell, options.check, stop)
    done = work(coordinator)
    with contextlib.suppress(BrokenPipeError):
        print(done.to_json() if options.as_json else done.text(), flush=True)
    return 1 if done.error else 0


def _tell(taken: Taken) -> None:
    """Nobody may be reading any more."""
    with contextlib.suppress(OSError):
        print(report.line(taken), file=sys.stderr, flush=True)


def _config(options: Options) -> AgentConfig:
    path = Path(options.config)
    config = AgentConfig.from_json(path.read_text(encoding="utf-8"), name=str(path))
    return replace(config, patroni=options.patroni) if options.patroni else config


def _databases(config: AgentConfig) -> tuple[str, ...]:
    """Those of PostgreSQL that follow the leader by name; none where the hosts file is not at hand."""
    try:
        entries = HostsFile().read().databases
    except PoolerError:
        return ()
    leading = [name for name, target in config.targets.items() if target == "leader" and name != "*"]
    return tuple(sorted({entries[name].get("dbname", name) for name in leading if name in entries}))
