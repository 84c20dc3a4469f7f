"""The report of a drill as one HTML file that needs nothing else: no script, no font, no picture from elsewhere."""

from __future__ import annotations

import math
from collections.abc import Iterable
from html import escape

from . import svg
from .book import Stream
from .found import Found
from .limits import apart
from .svg import COLOURS, Series
from .timeline import Second, shares

_RED = "#c7504c"

_STYLE = """
:root{color-scheme:light}
body{font:15px/1.5 system-ui,sans-serif;max-width:820px;margin:2em auto;padding:0 1em;color:#1d2733;background:#fff}
h1{font-size:1.5em;margin:0}h2{font-size:1.1em;margin:2em 0 .4em}
.said{display:inline-block;padding:.15em .7em;border-radius:1em;color:#fff;font-weight:600}
.well{background:#3a9a5c}.ill{background:#c7504c}
.tiles{display:grid;grid-template-columns:repeat(4,1fr);gap:.7em;margin:1.2em 0}
.tiles div{border:1px solid #d8dfe6;border-radius:.5em;padding:.5em .8em}
.tiles b{display:block;font-size:1.35em}.tiles span{color:#5c7080;font-size:.85em}
table{border-collapse:collapse;width:100%}
td,th{text-align:left;padding:.25em .8em .25em 0;border-bottom:1px solid #e6ebf0}
td.n,th.n{text-align:right}
svg{width:100%;height:auto;display:block}svg text{font-size:11px;fill:#5c7080}
svg .up{text-anchor:end}svg .across,svg .axis{text-anchor:middle}
svg .grid{stroke:#e6ebf0}svg line.mark{stroke:#1d2733;stroke-dasharray:4 3}svg text.mark{fill:#1d2733}
.legend{margin:.2em 0 0;color:#5c7080;font-size:.85em}.legend span{margin-right:1.2em}
.legend i{display:inline-block;width:.8em;height:.8em;margin-right:.35em;border-radius:2px}
.bar{background:#e6ebf0;border-radius:3px;width:14em}.bar i{display:block;height:.8em;border-radius:3px}
footer{color:#5c7080;font-size:.85em;margin:2.5em 0}
"""

_FOOTER = """Clients ask again when they have an answer: while all wait nobody asks, and the stall tells it, not the
percentiles. <i>Ambiguous</i> is a commit that was sent and never answered; what became of it was read back from the
tables."""


def render(found: Found) -> str:
    seconds = _whole(found)
    parts = [
        "<!doctype html><html lang=en><head><meta charset=utf-8>",
        "<meta http-equiv=Content-Security-Policy content=\"default-src 'none'; style-src 'unsafe-inline'\">",
        f"<title>pooler drill: {escape(found.event)}</title><style>{_STYLE}</style></head><body>",
        f"<h1>pooler drill: {escape(found.event)} {_said(found)}</h1>",
        "".join(f"<p><b>Missed:</b> {escape(each)}</p>" for each in found.missed),
        f"<p>{escape(found.noticed)}</p>" if found.noticed else "",
        _tiles(found),
        "<h2>Transactions</h2>",
        svg.plot(
            [
                Series("done per second", [(at, each.done.total()) for at, each in enumerate(seconds)], "area"),
                Series("failed per second", [(at, each.failed) for at, each in enumerate(seconds)], "bars", _RED),
            ],
            across="seconds",
            up="per second",
            marks=_marks(found),
        ),
        "<h2>The slowest transaction of each second</h2>",
        svg.plot(
            [Series("slowest", [(at, each.slowest * 1e3) for at, each in enumerate(seconds)], colour=COLOURS[1])],
            across="seconds",
            up="milliseconds",
            marks=_marks(found),
        ),
        "<h2>How long it takes, by percentile</h2>",
        _spectrum(found),
        _percentiles(found),
        "<h2>Balance among instances</h2>",
        _balance(found),
        "<h2>Failures</h2>",
        _failures(found),
        _notes(found.notes),
        f"<footer>{_FOOTER}</footer></body></html>",
    ]
    return "\n".join(part for part in parts if part) + "\n"


def _whole(found: Found) -> list[Second]:
    """The last one is cut off, and would look like a fall."""
    return found.timeline.seconds[: max(1, int(found.report.seconds))]


def _said(found: Found) -> str:
    return '<span class="said well">passed</span>' if found.well else '<span class="said ill">failed</span>'


def _tiles(found: Found) -> str:
    tally, verdict = found.report.tallies[Stream.TRANSACTIONS], found.report.verdict
    p99 = found.percentiles(Stream.TRANSACTIONS).get("p99", 0.0)
    tiles = (
        (f"{tally.succeeded:,}", "transactions"),
        (f"{tally.succeeded / max(found.report.seconds, 1e-9):,.0f}", "per second"),
        (f"{found.failed:,}", "failed"),
        (f"{tally.stall:.2f} s", "longest stall"),
        (f"{p99:.1f} ms", "99 of 100 are faster"),
        (f"{verdict.lost}", "lost"),
        (f"{verdict.doubled}", "duplicated"),
        (f"{verdict.ambiguous}", "ambiguous"),
    )
    return f'<div class="tiles">{"".join(f"<div><b>{b}</b><span>{word}</span></div>" for b, word in tiles)}</div>'


def _marks(found: Found) -> list[tuple[float, str]]:
    said = [(at, f"{leader} leads") for at, leader in found.leaders]
    return said + [(mark.at, mark.what) for mark in found.report.marks]


def _spectrum(found: Found) -> str:
    """With the rare ones far apart: x is how many nines a percentile has."""
    series = []
    for number, stream in enumerate((Stream.TRANSACTIONS, Stream.LOGINS)):
        count = found.timeline.count(stream)
        if count:
            nines = [each / 10 for each in range(math.floor(math.log10(count) * 10) + 1)]
            points = [(x, found.timeline.percentile(stream, 100 * (1 - 10**-x)) * 1000) for x in nines]
            series.append(Series(str(stream), points, colour=COLOURS[number]))
    most = max((each.points[-1][0] for each in series), default=0.0)
    ticks = [(0.0, "0"), (math.log10(2), "50%"), (1.0, "90%"), (2.0, "99%"), (3.0, "99.9%"), (4.0, "99.99%")]
    return svg.plot(series, across="of all", up="milliseconds", ticks=[each for each in ticks if each[0] <= most])


def _percentiles(found: Found) -> str:
    streams = {stream: found.percentiles(stream) for stream in (Stream.TRANSACTIONS, Stream.LOGINS)}
    streams = {stream: each for stream, each in streams.items() if each}
    names = next(iter(streams.values()), {})
    head = "".join(f'<th class="n">{name}</th>' for name in names)
    rows = "".join(
        f"<tr><td>{stream}, ms</td>{''.join(f'<td class=n>{value:.1f}</td>' for value in each.values())}</tr>"
        for stream, each in streams.items()
    )
    return f"<table><tr><th></th>{head}</tr>{rows}</table>"


def _balance(found: Found) -> str:
    parts = shares(found.timeline.balance())
    seconds = _whole(found)
    rows = "".join(
        f'<tr><td>{escape(name) or "unknown"}</td><td><div class="bar"><i style="width:{share:.1%};background:'
        f'{COLOURS[number % len(COLOURS)]}"></i></div></td><td class="n">{share:.1%}</td></tr>'
        for number, (name, share) in enumerate(parts)
    )
    series = [
        Series(name, [(at, each.done[name]) for at, each in enumerate(seconds)], colour=COLOURS[number % len(COLOURS)])
        for number, (name, _share) in enumerate(parts)
    ]
    said = f"<p>The one that is farthest off has {apart(found.timeline):.0%} more or less than an even share.</p>"
    return f"<table>{rows}</table>{said}{svg.plot(series, across='seconds', up='per second')}"


def _failures(found: Found) -> str:
    rows = [
        (str(stream), str(kind), failures.count, failures.examples[0].at, failures.examples[0].message)
        for stream, tally in found.report.tallies.items()
        for kind, failures in tally.failures.items()
    ]
    if closed := found.report.closed:
        rows.append(("connections", "closed between transactions", len(closed), closed[0].at, closed[0].message))
    if not rows:
        return "<p>None.</p>"
    body = "".join(
        f"<tr><td>{stream}</td><td>{escape(kind)}</td><td class=n>{count}</td><td class=n>{at:.1f} s</td>"
        f"<td>{escape(message)}</td></tr>"
        for stream, kind, count, at, message in rows
    )
    head = "<tr><th>of</th><th>what</th><th class=n>count</th><th class=n>first</th><th>its words</th></tr>"
    return f"<table>{head}{body}</table>"


def _notes(notes: Iterable[str]) -> str:
    return "".join(f"<p>{escape(note)}</p>" for note in notes)
