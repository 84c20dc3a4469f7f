"""What clients feel of changes: reloads, rolling restarts, another image, another number of instances, bad changes.

Clients with persistent connections and clients that open a new one every time work through the pool meanwhile; their
bookkeeping is in `pooler.drill`. The plain ways to restart stand beside ours as controls: whoever counts must see
their harm.
"""

from __future__ import annotations

import json
import re
import secrets
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pooler import scram
from pooler.drill import drains
from pooler.drill.book import Stream
from pooler.drill.report import Report
from pooler.drill.settings import Settings

from .figures import Figure
from .fleet import ROLE, Fleet, Play, booted
from .under_load import Mark, under_load

LAB = {
    "name": "drill-changes",
    "subnet": "10.77.3.0/24",
    "hosts": {"db1": {"groups": ["database"]}, "pool1": {"groups": ["pooler"]}, "pool2": {"groups": ["pooler"]}},
}
HOST, OTHER = "pool1", "pool2"
_SMALL_LAB = {**LAB, "hosts": {"db1": {"groups": ["database"]}, "pool1": {"groups": ["pooler"]}}}
DEADLINE = 5
"""Seconds that a draining instance waits for its clients."""

HUNG = 4
"""Seconds after which a client counts as hung: who sits at a draining instance until its deadline is among them."""

ROUNDS = 3
DETAILS = Path("build/drills/changes")
IMAGE, NEXT_IMAGE, SICK_IMAGE = (f"localhost/pgfleet/pooler:{tag}" for tag in ("0.1.0", "drill-next", "drill-sick"))
SICK_WORDS = "this engine starts on trial only"

Event = Callable[["Change"], None]


@dataclass(frozen=True)
class Row:
    """`instances` the host has before. `plain`: a control, not our way. `host`: whose clients are watched.

    `newcomers`: whether some of them open a new connection every time.
    """

    what: str
    event: Event
    instances: int = 2
    plain: bool = False
    host: str = HOST
    newcomers: bool = True

    @property
    def slug(self) -> str:
        return re.sub(r"\W+", "-", self.what)


@dataclass
class Change:
    """One run of an event: what it may use, and what went otherwise than it should."""

    fleet: Fleet
    base: Mapping[str, Any]
    number: int
    mark: Mark
    wrong: list[str] = field(default_factory=list)

    def role(self, **changes: Any) -> None:
        """A change that must succeed."""
        self.play(ROLE, **changes)

    def play(self, playbook: str, without: tuple[str, ...] = (), **changes: Any) -> None:
        """A playbook that must succeed."""
        play = self.fleet.play(playbook, {**self.base, **changes}, HOST, without)
        what = f"{'role' if playbook == ROLE else playbook.splitlines()[0]} with {sorted(changes)}"
        self.mark(f"{what}: {play.seconds:.1f} s")
        if play.status:
            self.wrong.append(f"{what} failed: {_last_words(play)}")
        elif not play.changed:
            self.wrong.append(f"{what} changed nothing")

    def refused(self, words: str, **changes: Any) -> None:
        """A change that must fail with these words, and leave everything as it was."""
        play = self.fleet.role({**self.base, **changes}, HOST)
        self.mark(f"refused after {play.seconds:.1f} s")
        if not play.status:
            self.wrong.append(f"{sorted(changes)} was not refused")
        elif words not in play.output:
            self.wrong.append(f"no {words!r} among the words of the refusal: {_last_words(play)}")
        again = self.fleet.role(self.base, HOST)
        if again.status:
            self.wrong.append(f"the way back to the old configuration failed: {_last_words(again)}")
        elif again.changed:
            self.wrong.append("the old configuration was not in force afterwards")


@dataclass(frozen=True)
class Outcome:
    """Of one run. `early`: persistent connections closed before the deadline, of `report.closed`."""

    report: Report
    drains: list[drains.Drain]
    early: int
    wrong: list[str]

    @property
    def transactions_failed(self) -> int:
        """Also those of which the client never knew whether they happened, and those that are not in the table."""
        verdict = self.report.verdict
        failed = self.report.tallies[Stream.TRANSACTIONS].failed
        return failed + verdict.lost + verdict.doubled + verdict.unknown_committed

    @property
    def connections(self) -> int:
        return sum(self.report.tallies[stream].succeeded for stream in _NEW) + self.connections_failed

    @property
    def connections_failed(self) -> int:
        return sum(self.report.tallies[stream].failed for stream in _NEW)


_NEW = (Stream.LOGINS, Stream.KNOCKS)


def run(short: bool, runs: int = ROUNDS, events: Sequence[str] = ()) -> list[Figure]:
    """`events` are slugs of rows, all when none is said."""
    if unknown := {*events} - {row.slug for rows in _ROWS.values() for row in rows}:
        there = ", ".join(row.slug for row in _ROWS["socket"])
        raise SystemExit(f"no such events: {', '.join(sorted(unknown))} (there are {there})")
    with booted(_SMALL_LAB if short else LAB, {}) as fleet:
        if not short:
            _make_images(fleet)
        return measure(fleet, short, runs, events)


def measure(fleet: Fleet, short: bool, runs: int = ROUNDS, events: Sequence[str] = ()) -> list[Figure]:
    """On a fleet that is there already; it is left otherwise than it was."""
    figures: list[Figure] = []
    for dispatch in ("socket",) if short else ("socket", "engine"):
        base = {**_BASE, "pgbouncer_dispatch": dispatch}
        for row in _SHORT if short else _ROWS[dispatch]:
            if events and row.slug not in events:
                continue
            outcomes = [_run(fleet, row, base, number, short) for number in range(1 if short else runs)]
            figures += _figures(f"{row.what} ({dispatch})", row, outcomes)
    return figures


_BASE: Mapping[str, Any] = {
    "pgbouncer_drain_timeout": DEADLINE,
    # A line in the journal for each of some hundred connections a second would be what is measured.
    "pgbouncer_settings": {"log_connections": 0, "log_disconnections": 0},
}


def _run(fleet: Fleet, row: Row, base: Mapping[str, Any], number: int, short: bool) -> Outcome:
    before = {**base, "pgbouncer_instances": row.instances}
    _converge(fleet, before)
    wrong: list[str] = []

    def event(mark: Mark) -> None:
        change = Change(fleet, before, number, mark, wrong)
        row.event(change)

    since = time.time()
    report = under_load(fleet.paths.lab, _load(fleet, row, short), event)
    found = drains.read(fleet.sh(row.host, f"{drains.JOURNAL} --since=@{since:.0f}").splitlines())
    early = drains.early([report.began + each.at for each in report.closed], found, DEADLINE)
    outcome = Outcome(report, found, early, wrong)
    _tell(f"{row.what}, {base['pgbouncer_dispatch']}, run {number + 1}", outcome)
    return outcome


def _load(fleet: Fleet, row: Row, short: bool) -> Settings:
    return Settings(
        host=row.host,
        user="app",
        database="app",
        password=fleet.password,
        ca=str(fleet.authority),
        hung_after=HUNG,
        workers=4 if short else 8,
        logins=(2 if short else 3) if row.newcomers else 0,
        knocks=(10 if short else 40) if row.newcomers else 0,
    )


def _converge(fleet: Fleet, base: Mapping[str, Any]) -> None:
    """The state from which a run begins, whatever the one before has left; from nothing, if need be."""
    if fleet.role(base, HOST).status:
        fleet.role({**base, "pgbouncer_state": "absent"}, HOST)
        again = fleet.role(base, HOST)
        if again.status:
            raise SystemExit(f"the role fails on a bare host:\n{again.output[-4000:]}")


def _reloads(by_role: int, by_console: int) -> Event:
    def event(change: Change) -> None:
        verifiers = [scram.verifier(secrets.token_urlsafe(8)) for _ in range(by_role // 5 + 2)]
        variants = [_variant(turn, verifiers) for turn in range(by_role)]
        change.play(
            _RELOADS,
            without=("pgbouncer_databases", "pgbouncer_users", "pgbouncer_hba", "pgbouncer_settings"),
            drill_variants=variants,
            drill_reloads=by_console,
        )

    return event


def _variant(turn: int, verifiers: Sequence[str]) -> dict[str, Any]:
    """Each differs from the one before in one kind of thing, the five kinds in turn."""
    round_, kind = divmod(turn, 5)
    sizes, extra, users, rules, limits = (round_ + (kind >= place) for place in range(5))
    return {
        "databases": [
            {"name": "app", "pool_size": 10 + sizes},
            *({"name": f"extra{number}", "dbname": "app"} for number in range(extra % 3)),
        ],
        "users": [{"name": "listed", "verifier": verifiers[users]}],
        "hba": [
            "host pgbouncer_auth all all reject",
            f"hostssl all nobody{rules} 0.0.0.0/0 reject",
            "hostssl all all all scram-sha-256",
            "local all all scram-sha-256",
        ],
        "settings": {**_BASE["pgbouncer_settings"], "max_user_connections": 100 + limits},
    }


_RELOADS = """\
- name: One change after the other
  hosts: pooler
  gather_facts: false
  tasks:
    - name: By the role
      ansible.builtin.include_role:
        name: pgfleet.pooler.pgbouncer
      loop: "{{ drill_variants }}"
      loop_control:
        loop_var: drill_variant
        label: ""
      vars:
        pgbouncer_databases: "{{ drill_variant.databases }}"
        pgbouncer_users: "{{ drill_variant.users }}"
        pgbouncer_hba: "{{ drill_variant.hba }}"
        pgbouncer_settings: "{{ drill_variant.settings }}"

    - name: By the console
      pgfleet.pooler.pgbouncer_console:
        command: RELOAD
      loop: "{{ range(drill_reloads) | list }}"
"""


def _rolling_restart(change: Change) -> None:
    """A changed unit, or a setting that is read at start only."""
    if change.number == 1:
        change.role(pgbouncer_settings={**_BASE["pgbouncer_settings"], "pkt_buf": 16384})
    else:
        change.role(pgbouncer_nofile=8000 - change.number)


def _upgrade_and_return(change: Change) -> None:
    archive = str(_next_archive(change.fleet))
    change.play("pgfleet.pooler.upgrade", pgbouncer_image=NEXT_IMAGE, image_archive=archive)
    change.play("pgfleet.pooler.upgrade", pgbouncer_image=IMAGE)


def _scale(change: Change) -> None:
    for instances in (4, 1, 3):
        change.role(pgbouncer_instances=instances)


def _refused_by_the_engine(change: Change) -> None:
    change.refused(
        "invalid client_tls_ecdhecurve: no-such-curve",  # as the engine spells it
        pgbouncer_settings={**_BASE["pgbouncer_settings"], "client_tls_ecdhcurve": "no-such-curve"},
    )


def _never_healthy(change: Change) -> None:
    change.refused(SICK_WORDS, pgbouncer_image=SICK_IMAGE)


def _drain_host(change: Change) -> None:
    change.play("pgfleet.pooler.drain")
    change.role()


def _systemctl_restart(change: Change) -> None:
    change.fleet.sh(HOST, "for i in 50001 50002; do systemctl restart pgbouncer@$i; sleep 1; done")


def _shutdown_wait_for_clients(change: Change) -> None:
    """As the manual shows it. Persistent clients never leave by themselves, so it is bounded as ours is."""
    change.fleet.sh(HOST, _SHUTDOWN)


_SHUTDOWN = f"""
for i in 50001 50002; do
  before=$(podman inspect --format '{{{{.Id}}}}' pgbouncer-$i)
  podman exec pgbouncer-$i psql -Xq -h /run/pgbouncer/$i -p 6432 -U pgbouncer -d pgbouncer \\
    -c 'SHUTDOWN WAIT_FOR_CLIENTS' >/dev/null
  timeout {DEADLINE} podman wait "$before" >/dev/null 2>&1 || systemctl restart pgbouncer@$i
  systemctl start pgbouncer@$i
  sleep 1
done
"""

_OURS = (
    Row("rolling restart of 2", _rolling_restart),
    Row("rolling restart of 4", _rolling_restart, instances=4),
    Row("another image and back", _upgrade_and_return),
    Row("2, 4, 1, 3 instances", _scale),
    Row("a configuration that the engine refuses", _refused_by_the_engine),
    Row("an image that does not come up", _never_healthy),
    Row("draining a host, clients of the other", _drain_host, host=OTHER),
    Row("draining a host, its own clients", _drain_host, newcomers=False),
)
_PLAIN = (
    Row("plain: systemctl restart", _systemctl_restart, plain=True),
    Row("plain: SHUTDOWN WAIT_FOR_CLIENTS", _shutdown_wait_for_clients, plain=True),
)
_ROWS: Mapping[str, Sequence[Row]] = {
    # Who opened the port makes no difference to a reload.
    "socket": (Row("200 reloads", _reloads(20, 180)), *_OURS, *_PLAIN),
    "engine": (*_OURS, *_PLAIN),
}
_SHORT = (Row("6 reloads", _reloads(5, 1)), Row("rolling restart of 2", _rolling_restart))


def _make_images(fleet: Fleet) -> None:
    """One that differs in its id alone; and one whose engine runs anywhere but in its unit."""
    fleet.sh(
        HOST,
        f"""
cd "$(mktemp -d)"
cat > pgbouncer <<'END'
#!/bin/sh
case "$*" in */current/*) echo "$(date '+%F %T.000 UTC') [1] FATAL {SICK_WORDS}" >&2; exit 1;; esac
exec /usr/sbin/pgbouncer "$@"
END
chmod 0755 pgbouncer
printf 'FROM {IMAGE}\\nLABEL drill=next\\n' | podman build --quiet --tag {NEXT_IMAGE} - >/dev/null
printf 'FROM {IMAGE}\\nCOPY pgbouncer /usr/local/bin/pgbouncer\\n' > Containerfile
podman build --quiet --tag {SICK_IMAGE} . >/dev/null
rm -f /var/tmp/next.tar
podman save --quiet --uncompressed --format=oci-archive --output=/var/tmp/next.tar {NEXT_IMAGE} >/dev/null
""",
    )
    fleet.fetch(HOST, "/var/tmp/next.tar", _next_archive(fleet))


def _next_archive(fleet: Fleet) -> Path:
    return fleet.paths.directory / "next.tar"


def _figures(what: str, row: Row, outcomes: Sequence[Outcome]) -> list[Figure]:
    def goal(most: float) -> float | None:
        return None if row.plain else most

    transactions = sum(o.report.tallies[Stream.TRANSACTIONS].succeeded + o.transactions_failed for o in outcomes)
    stall = max(tally.stall for o in outcomes for tally in o.report.tallies.values())
    figures = [
        Figure(
            f"{what}: transactions failed, hung or lost",
            sum(o.transactions_failed for o in outcomes),
            f"of {transactions}",
            goal(0),
        ),
        Figure(
            f"{what}: persistent ones closed before the deadline",
            sum(o.early for o in outcomes),
            f"of {sum(len(o.report.closed) for o in outcomes)} closed",
            goal(0),
        ),
    ]
    if row.newcomers:
        figures.insert(
            1,
            Figure(
                f"{what}: new connections refused, reset, hung, turned away",
                sum(o.connections_failed for o in outcomes),
                f"of {sum(o.connections for o in outcomes)}",
                goal(0),
            ),
        )
        figures.append(Figure(f"{what}: longest stall", stall, "s"))
    if row.plain:
        harmed = sum(o.transactions_failed + o.connections_failed + o.early for o in outcomes)
        figures.append(Figure(f"{what}: clients harmed, as the count must see", harmed, "", least=1))
    else:
        wrong = sum(len(o.wrong) for o in outcomes)
        figures.append(Figure(f"{what}: plays that ended otherwise than they should", wrong, "", 0))
    return figures


def _tell(title: str, outcome: Outcome) -> None:
    """A line on the terminal for each run, what went wrong below it; everything in a file."""
    report = outcome.report
    tallies = report.tallies
    print(
        f"{title}: {report.seconds:.0f} s, "
        + ", ".join(f"{tally.failed} of {tally.succeeded + tally.failed} {name}" for name, tally in tallies.items())
        + f" failed; {len(report.closed)} closed, {outcome.early} early; "
        + f"longest stall {max(tally.stall for tally in tallies.values()):.2f} s",
        file=sys.stderr,
    )
    for stream, tally in tallies.items():
        for kind, failures in tally.failures.items():
            example = failures.examples[0]
            print(f"  {stream}: {failures.count} {kind}, at {example.at:.2f} s {example.message}", file=sys.stderr)
    for wrong in outcome.wrong:
        print(f"  {wrong}", file=sys.stderr, flush=True)
    DETAILS.mkdir(parents=True, exist_ok=True)
    name = "".join(letter if letter.isalnum() else "-" for letter in title)
    (DETAILS / f"{name}.json").write_text(json.dumps(asdict(outcome), indent=1) + "\n", encoding="utf-8")


def _last_words(play: Play) -> str:
    """What the failed task said, or else the end of the output."""
    _, found, words = play.output.partition("fatal: ")
    return " ".join((words.partition("\n\n")[0] if found else play.output[-500:]).split())[:800]
