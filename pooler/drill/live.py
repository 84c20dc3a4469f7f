"""What a person sees while a drill runs: a board that stays where it is, or a line a second where it cannot."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TextIO

from .book import Book, Stream
from .signs import SILENCE
from .timeline import Timeline, shares

_WIDTH = 30
_LATEST = 5
"""Seconds over which the balance is told."""


def board(book: Book, timeline: Timeline, rate: float) -> list[str]:
    """The lines: what is done, how long it takes, and a bar for each instance."""
    tally, silence = book.tallies[Stream.TRANSACTIONS], book.silence(Stream.TRANSACTIONS)
    logins = book.tallies[Stream.LOGINS]
    percentiles = "  ".join(
        f"{name} {timeline.percentile(Stream.TRANSACTIONS, percentile) * 1000:.1f} ms"
        for name, percentile in (("p50", 50.0), ("p99", 99.0), ("p99.9", 99.9))
    )
    lines = [
        f"{book.now():5.0f} s  {rate:6.0f} transactions/s  {tally.succeeded} done  {sum(book.hits.values())} errors",
        f"         {percentiles}  longest stall {max(tally.stall, silence):.2f} s  {logins.succeeded} logins",
    ]
    if silence > SILENCE:
        lines[0] += f"  ALL WAIT for {silence:.0f} s"
    found = shares(timeline.balance(_LATEST))
    width = max((len(name) for name, _share in found), default=0)
    return lines + [
        f"         {name or 'unknown':{width}}  {'█' * round(share * _WIDTH)} {share:.0%}" for name, share in found
    ]


def line(book: Book, rate: float) -> str:
    silence = book.silence(Stream.TRANSACTIONS)
    waiting = f", all wait for {silence:.0f} s" if silence > SILENCE else ""
    return f"{book.now():5.0f} s  {rate:5.0f} transactions/s  {sum(book.hits.values())} errors{waiting}"


class Painter:
    """Paints over what it has painted before; what is said between is kept above."""

    def __init__(self, terminal: TextIO) -> None:
        self._terminal = terminal
        self._lines = 0

    def paint(self, lines: Sequence[str]) -> None:
        up = f"\x1b[{self._lines}F" if self._lines else ""
        self._terminal.write(up + "".join(f"\x1b[2K{each}\n" for each in lines) + "\x1b[J")
        self._terminal.flush()
        self._lines = len(lines)

    def say(self, text: str) -> None:
        """It stays."""
        up = f"\x1b[{self._lines}F\x1b[J" if self._lines else ""
        self._terminal.write(f"{up}{text}\n")
        self._terminal.flush()
        self._lines = 0
