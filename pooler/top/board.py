"""The board: rows of all hosts, sorted and filtered, and a line about them all. Pure functions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from .seen import Host, Instance


@dataclass(frozen=True)
class Row:
    """An instance on the board, or a host of which nothing is known. `share` is its part of all transactions."""

    host: Host
    instance: Instance
    share: float = 0.0

    @property
    def state(self) -> str:
        if self.host.error or self.instance.error:
            return self.host.error or self.instance.error
        if self.instance.paused:
            return "paused"
        return "" if self.host.ready else self.host.reason


@dataclass(frozen=True)
class Column:
    """`key` sorts by it; `value` is what is sorted, `text` what is shown."""

    title: str
    key: str
    value: Callable[[Row], float | str]
    text: Callable[[Row], str]
    falling: bool = True


COLUMNS = (
    Column("instance", "n", lambda row: row.instance.name, lambda row: row.instance.name, falling=False),
    Column("clients", "c", lambda row: row.instance.clients, lambda row: str(row.instance.clients)),
    Column("waiting", "w", lambda row: row.instance.longest, lambda row: _waiting(row.instance)),
    Column("servers", "s", lambda row: row.instance.active, lambda row: f"{row.instance.active}+{row.instance.idle}"),
    Column("tps", "t", lambda row: row.instance.tps, lambda row: f"{row.instance.tps:.0f}"),
    Column(
        "latency", "l", lambda row: row.instance.transaction_ms, lambda row: f"{row.instance.transaction_ms:.1f} ms"
    ),
    Column("query", "y", lambda row: row.instance.query_ms, lambda row: f"{row.instance.query_ms:.1f} ms"),
    Column("wait", "i", lambda row: row.instance.wait_ms, lambda row: f"{row.instance.wait_ms:.1f} ms"),
    Column("balance", "b", lambda row: row.share, lambda row: drawn(row.share)),
    Column("leader", "d", lambda row: row.instance.leader, lambda row: row.instance.leader, falling=False),
    Column("state", "e", lambda row: row.state, lambda row: row.state),
)

_WIDTH = 10


def rows(hosts: Iterable[Host]) -> list[Row]:
    found = [
        Row(host, instance)
        for host in hosts
        for instance in (host.instances if host.instances else (Instance(host.name, error=host.error),))
    ]
    everything = sum(row.instance.tps for row in found)
    return [Row(row.host, row.instance, row.instance.tps / everything if everything else 0.0) for row in found]


def arranged(found: Iterable[Row], column: Column, wanted: str = "", *, backwards: bool = False) -> list[Row]:
    """Those in which the wanted text occurs, sorted by a column; alike ones by name."""
    kept = [row for row in found if wanted.lower() in " ".join(each.text(row) for each in COLUMNS).lower()]
    kept.sort(key=lambda row: row.instance.name)
    kept.sort(key=column.value, reverse=column.falling != backwards)
    return kept


def summary(found: Sequence[Row]) -> str:
    """Everything in a line: sums, whom instances follow, and how evenly they are used."""
    if not found:
        return "nothing is known yet"
    answering = [row for row in found if not row.state]
    leaders = sorted({row.instance.leader for row in found if row.instance.leader})
    clients, waiting = sum(row.instance.clients for row in found), sum(row.instance.waiting for row in found)
    words = [
        f"{len(answering)} of {len(found)} instances serve",
        f"{clients} clients, {waiting} wait",
        f"{sum(row.instance.tps for row in found):.0f} transactions/s",
        f"leader {' and '.join(leaders) or 'unknown'}",
    ]
    shares = [row.share for row in found if row.share]
    if len(shares) > 1:
        words.append(f"balance {min(shares):.0%} to {max(shares):.0%}, even would be {1 / len(found):.0%}")
    return " | ".join(words)


def drawn(share: float) -> str:
    """A part of a whole, drawn and told."""
    full = round(share * _WIDTH)
    return f"{'█' * full}{'·' * (_WIDTH - full)} {share:4.0%}"


def table(found: Sequence[Row]) -> str:
    """For a terminal that is not watched."""
    lines = [[column.title for column in COLUMNS], *([column.text(row) for column in COLUMNS] for row in found)]
    widths = [max(len(line[at]) for line in lines) for at in range(len(COLUMNS))]
    return "\n".join(
        "  ".join(word.ljust(width) for word, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )


def _waiting(instance: Instance) -> str:
    return f"{instance.waiting} for {instance.longest:.1f} s" if instance.waiting else "0"
