"""Plots as SVG, written out: they need nothing but a browser."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Literal

Point = tuple[float, float]

COLOURS = ("#2a6fb0", "#e08a1e", "#3a9a5c", "#8a5fb8", "#c7504c", "#5c7080", "#b59f2b", "#2fa6a6")

_WIDTH, _HEIGHT = 760, 230
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 16, 14, 34
_TICKS = 5


@dataclass(frozen=True)
class Series:
    """`bars` stand at their x, one wide; an `area` reaches down to the axis."""

    name: str
    points: Sequence[Point]
    kind: Literal["line", "area", "bars"] = "line"
    colour: str = COLOURS[0]


def plot(
    series: Sequence[Series],
    *,
    across: str,
    up: str,
    marks: Sequence[tuple[float, str]] = (),
    ticks: Sequence[tuple[float, str]] = (),
) -> str:
    """`across` and `up` name the axes. `marks` are lines across time with their words; `ticks` replace those of x."""
    points = [point for each in series for point in each.points] or [(0.0, 0.0)]
    low, high = min(x for x, _y in points), max(max(x for x, _y in points), 1e-9)
    top = _rounded(max(max(y for _x, y in points), 1e-9))
    x_of = _scale(low, max(high, low + 1e-9), _LEFT, _WIDTH - _RIGHT)
    y_of = _scale(0.0, top, _HEIGHT - _BOTTOM, _TOP)
    parts = [f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img">']
    for number in range(_TICKS + 1):
        value = top * number / _TICKS
        y = y_of(value)
        parts.append(f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text class="up" x="{_LEFT - 6}" y="{y + 4:.1f}">{value:g}</text>')
    for value, word in ticks or _steps(low, high):
        parts.append(f'<text class="across" x="{x_of(value):.1f}" y="{_HEIGHT - 16}">{escape(word)}</text>')
    parts += [_drawn(each, x_of, y_of, x_of(low + 1) - x_of(low)) for each in series]
    for at, word in marks:
        x = x_of(min(max(at, low), high))
        parts.append(f'<line class="mark" x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP}" y2="{_HEIGHT - _BOTTOM}"/>')
        parts.append(f'<text class="mark" x="{x + 4:.1f}" y="{_TOP + 10}">{escape(word)}</text>')
    parts.append(f'<text class="across" x="{(_LEFT + _WIDTH - _RIGHT) / 2}" y="{_HEIGHT - 2}">{escape(across)}</text>')
    middle = (_TOP + _HEIGHT - _BOTTOM) / 2
    parts.append(f'<text class="axis" transform="translate(12 {middle}) rotate(-90)">{escape(up)}</text>')
    return "".join([*parts, "</svg>", _legend(series)])


def _drawn(series: Series, x_of: Callable[[float], float], y_of: Callable[[float], float], wide: float) -> str:
    if not series.points:
        return ""
    if series.kind == "bars":
        return "".join(
            f'<rect x="{x_of(x):.1f}" y="{y_of(y):.1f}" width="{max(wide, 1):.1f}" '
            f'height="{y_of(0) - y_of(y):.1f}" fill="{series.colour}"/>'
            for x, y in series.points
            if y
        )
    path = " ".join(f"{x_of(x):.1f},{y_of(y):.1f}" for x, y in series.points)
    line = f'<polyline points="{path}" fill="none" stroke="{series.colour}" stroke-width="1.8"/>'
    if series.kind == "line":
        return line
    first, last = series.points[0][0], series.points[-1][0]
    closed = f"{x_of(first):.1f},{y_of(0):.1f} {path} {x_of(last):.1f},{y_of(0):.1f}"
    return f'<polygon points="{closed}" fill="{series.colour}" fill-opacity="0.18"/>{line}'


def _legend(series: Sequence[Series]) -> str:
    words = (f'<span><i style="background:{each.colour}"></i>{escape(each.name)}</span>' for each in series)
    return f'<p class="legend">{"".join(words)}</p>'


def _scale(low: float, high: float, start: float, end: float) -> Callable[[float], float]:
    return lambda value: start + (value - low) / (high - low) * (end - start)


def _steps(low: float, high: float) -> list[tuple[float, str]]:
    step = _rounded(max(high - low, 1.0) / _TICKS)
    return [(low + step * n, f"{low + step * n:g}") for n in range(int((high - low) / step) + 1)]


def _rounded(value: float) -> float:
    """The next larger number that divides well into five."""
    power: float = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in (1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 7.5, 10.0) if step * power >= value)
