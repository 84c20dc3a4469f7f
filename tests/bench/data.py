"""Transactions, logins and idle clients: PostgreSQL itself, the fleet with 1, 2 and 4 instances, and others beside it.

All of them stand between the same clients and the same PostgreSQL, over the same wires, with TLS and SCRAM. Rounds of
all in turn; medians, and ratios within a round. Of clients who stay connected the logins are not counted.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, replace
from pathlib import Path

from tests.drills.figures import Figure
from tests.drills.fleet import Fleet

from . import peers, usage
from .ways import CLIENTS, Run, Scene, Way, middle, ratio

ROUNDS = 5
READS, QUERIES, CONNECTIONS = 600, 150, 4
"""Transactions of each client: of one of pgbench's and of asyncpg's who stay, and of one who connects for each."""
RESULTS = Path("build/bench/rounds.json")

DIRECT = "PostgreSQL itself"
HOSTS = {"pool1": 1, "pool2": 2, "pool3": 4}
LAB = {
    "name": "bench",
    "subnet": "10.89.101.0/24",
    "hosts": {
        "db1": {"groups": ["database"], "images": ["etcd", "spilo"]},
        **{name: {"groups": ["pooler"], "images": ["pooler"]} for name in HOSTS},
    },
}
SESSIONS = "ours, sessions"
"""One instance too, by a database that pools as all the others do: each client keeps its server connection."""
_HOSTS = tuple(f"ours, {count}" for count in HOSTS.values())
OURS = (*_HOSTS, SESSIONS)
LOGINS = "logins"

_POOL, _SESSIONS = 20, "app_sessions"
_MANY = 5000
_PAIRS = 12
_LEVEL = 0.95
"""What is called level with another: closer than that, rounds differ by chance."""

_STAY: Mapping[str, Callable[[Scene, Way], Run]] = {
    "simple": lambda scene, way: scene.pgbench(way, *_reads("simple")),
    "prepared": lambda scene, way: scene.pgbench(way, *_reads("prepared")),
    "asyncpg": lambda scene, way: scene.asyncpg(way, QUERIES, prepared=False, fresh=False),
    "asyncpg, prepared": lambda scene, way: scene.asyncpg(way, QUERIES, prepared=True, fresh=False),
}
_COME_AND_GO: Mapping[str, Callable[[Scene, Way], Run]] = {
    "simple, each connects": lambda scene, way: scene.pgbench(way, *_reads("simple", CONNECTIONS), "-C"),
    "prepared, each connects": lambda scene, way: scene.pgbench(way, *_reads("prepared", CONNECTIONS), "-C"),
    "asyncpg, each connects": lambda scene, way: scene.asyncpg(way, CONNECTIONS // 2, prepared=True, fresh=True),
}
COLUMNS = {**_STAY, **_COME_AND_GO}
_WITH_LOGINS = ("simple", "prepared")
"""pgbench does not say when its clients have connected, so what their logins cost is taken off."""

Rounds = Mapping[str, Mapping[str, list[Run]]]
"""By column, and in that by way."""


def run(fleet: Fleet) -> list[Figure]:
    _size(fleet)
    addresses = {host: fleet.sh("db1", f"getent hosts {host}").split()[0] for host in ("db1", *HOSTS)}
    scene = Scene.of(fleet)
    given = peers.Given(fleet, addresses["db1"], "pool1", addresses["pool1"], fleet.password)
    with peers.running(given, peers.others(given)) as up:
        ways = {DIRECT: Way(addresses["db1"], 5432, ())}
        for name, host in zip(_HOSTS, HOSTS, strict=True):
            units = usage.unit(fleet.paths.lab, host, "pgbouncer@*.service")
            ways[name] = Way(addresses[host], 6432, tuple(units))
        ways[SESSIONS] = replace(ways[_HOSTS[0]], database=_SESSIONS)
        ways |= up
        scene.fill(ways[DIRECT])
        rounds = _rounds(scene, ways)
        RESULTS.parent.mkdir(parents=True, exist_ok=True)
        RESULTS.write_text(json.dumps(rounds, default=asdict, indent=1) + "\n", encoding="utf-8")
        _show("transactions a second, to PostgreSQL itself", rounds, COLUMNS, _rate)
        _show("the pooler's CPU a transaction, us", rounds, COLUMNS, _cpu)
        _show("CPU a transaction with PostgreSQL's, us", rounds, COLUMNS, _whole)
        agent = tuple(usage.unit(fleet.paths.lab, "pool1", "pgbouncer-agent.service"))
        return [
            *_logins(rounds),
            *_beside(rounds),
            *_pairs(scene, ways, agent),
            *_idle(scene, ways),
            *_many(scene, ways[OURS[1]]),
        ]


def _reads(protocol: str, each: int = READS, clients: int = CLIENTS) -> tuple[str, ...]:
    return ("-S", "-M", protocol, "-c", str(clients), "-j", "2", "-t", str(each))


def _size(fleet: Fleet) -> None:
    """As many server connections through each host, however many instances share them; room for many clients."""
    for host, count in HOSTS.items():
        changes = {
            "pgbouncer_instances": count,
            "pgbouncer_databases": [
                {"name": "app", "pool_size": _POOL // count},
                {"name": _SESSIONS, "dbname": "app", "pool_size": _POOL // count, "pool_mode": "session"},
            ],
            # The kernel does not share connections out evenly.
            "pgbouncer_settings": {"max_client_conn": _MANY * 6 // 5},
            "pgbouncer_nofile": 0,
        }
        play = fleet.role(changes, host)
        if play.status:
            raise SystemExit(f"the role failed:\n{play.output[-3000:]}")


def _rounds(scene: Scene, ways: Mapping[str, Way]) -> Rounds:
    """Pools are filled before the first one."""
    for way in ways.values():
        scene.pgbench(way, *_reads("prepared"))
    found: Rounds = {column: {name: [] for name in ways} for column in (LOGINS, *COLUMNS)}
    for number in range(ROUNDS):
        began = time.monotonic()
        logins = {name: scene.logins(way, CONNECTIONS) for name, way in ways.items()}
        for name, login in logins.items():
            found[LOGINS][name].append(login)
        for column, load in COLUMNS.items():
            for name, way in ways.items():
                result = load(scene, way)
                found[column][name].append(without(result, logins[name]) if column in _WITH_LOGINS else result)
        print(f"round {number + 1} of {ROUNDS}: {time.monotonic() - began:.0f} s", flush=True)
    return found


def without(result: Run, login: Run) -> Run:
    """Without what the clients' own logins have cost."""
    share = CLIENTS / max(1, login.done)
    return replace(result, cpu=result.cpu - login.cpu * share, server=result.server - login.server * share)


def _rate(runs: Mapping[str, list[Run]], name: str) -> str:
    return f"{ratio(runs[name], runs[DIRECT], lambda run: run.rate):.2f}"


def _cpu(runs: Mapping[str, list[Run]], name: str) -> str:
    return "" if name == DIRECT else f"{middle(run.each for run in runs[name] if run.done):.0f}"


def _whole(runs: Mapping[str, list[Run]], name: str) -> str:
    return f"{middle(run.whole for run in runs[name] if run.done):.0f}"


def _show(
    what: str, rounds: Rounds, columns: Mapping[str, object], cell: Callable[[Mapping[str, list[Run]], str], str]
) -> None:
    """As Markdown."""
    print(f"\n| {what} | {' | '.join(columns)} |\n|---{'|---' * len(columns)}|")
    for name in rounds[LOGINS]:
        print(f"| {name} | {' | '.join(cell(rounds[column], name) for column in columns)} |", flush=True)


def _logins(rounds: Rounds) -> list[Figure]:
    """Logins for a second of the pooler's CPU."""
    runs = rounds[LOGINS]
    figures = [
        Figure(f"logins a CPU second: {name}", 1e6 / middle(run.each for run in runs[name] if run.done), "")
        for name in runs
        if name != DIRECT and any(run.done for run in runs[name])
    ]
    if peers.GUIDE in runs:
        times = ratio(runs[peers.GUIDE], runs[OURS[0]], lambda run: run.each)
        figures.append(Figure("logins a CPU second: ours to the guide's", times, "times", least=20))
    return figures


def _beside(rounds: Rounds) -> list[Figure]:
    """The best of ours beside the best of the others, in each column."""
    figures = []
    for column in COLUMNS:
        runs = rounds[column]
        rivals = [name for name in (peers.GUIDE, peers.PGAGROAL, peers.PGPOOL) if name in runs]
        rate = _best(runs, OURS, _of_rate, max) / _best(runs, rivals, _of_rate, max)
        cpu = _best(runs, rivals, _of_cpu, min) / _best(runs, OURS, _of_cpu, min)
        figures += [
            Figure(f"{column}: rate, best of ours to best of others", rate, "times", least=_LEVEL),
            Figure(f"{column}: CPU a transaction, least of others to least of ours", cpu, "times", least=_LEVEL),
        ]
    lost = sum(not run.done for runs in rounds.values() for name in OURS for run in runs[name])
    return [*figures, Figure("runs through the fleet with a failure", lost, "", 0)]


def _best(
    runs: Mapping[str, list[Run]],
    names: Iterable[str],
    of: Callable[[Run], float],
    choose: Callable[[Iterable[float]], float],
) -> float:
    """NaN, which reaches no goal, when none of them got anything done."""
    found = [middle(of(run) for run in runs[name] if run.done) for name in names]
    known = [value for value in found if not math.isnan(value)]
    return choose(known) if known else math.nan


def _of_rate(run: Run) -> float:
    return run.rate


def _of_cpu(run: Run) -> float:
    return run.each


def _pairs(scene: Scene, ways: Mapping[str, Way], agent: tuple[Path, ...]) -> list[Figure]:
    """One instance of ours and the same engine bare, again and again, each time another one first."""
    pair = [OURS[0], peers.BARE]
    logins: dict[str, list[Run]] = {name: [] for name in pair}
    reads: dict[str, list[Run]] = {name: [] for name in pair}
    began, before = time.monotonic(), usage.cpu(*agent)
    for number in range(_PAIRS):
        for name in pair if number % 2 else reversed(pair):
            logins[name].append(scene.logins(ways[name], 4 * CONNECTIONS))
            reads[name].append(without(scene.pgbench(ways[name], *_reads("prepared")), logins[name][-1]))
    ours, bare = pair
    share = (usage.cpu(*agent) - before) / (time.monotonic() - began)
    return [
        Figure("ours to bare: rate", ratio(reads[ours], reads[bare], _of_rate), "times", least=0.98),
        Figure("bare to ours: CPU a transaction", ratio(reads[bare], reads[ours], _of_cpu), "times", least=0.98),
        Figure("bare to ours: CPU a login", ratio(logins[bare], logins[ours], _of_cpu), "times", least=0.98),
        Figure("the agent meanwhile", share * 100, "% of a core", 1),
    ]


def _idle(scene: Scene, ways: Mapping[str, Way]) -> list[Figure]:
    """Memory of the pooler for a client that has logged in and does nothing."""
    figures = []
    for name, way in ways.items():
        if name not in (DIRECT, SESSIONS):
            # The guide's default is 100 clients; those with a process for each client have room for few.
            count = {peers.GUIDE: 90, peers.PGAGROAL: 30, peers.PGPOOL: 30}.get(name, 1000)
            figures.append(Figure(f"an idle client: {name}", scene.idle(way, count) / count * 1024, "KiB"))
    return figures


def _many(scene: Scene, way: Way) -> list[Figure]:
    """5,000 clients through two instances with 20 server connections."""
    result = scene.pgbench(way, *_reads("prepared", 4, _MANY))
    what = f"{_MANY} clients, {_POOL} server connections"
    return [
        Figure(f"{what}: transactions, 4 each, without an error", result.done, "", least=4 * _MANY),
        Figure(f"{what}: memory of the instances", usage.memory(*way.groups), "MiB"),
    ]
