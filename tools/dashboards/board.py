"""What a dashboard is: rows, each of which asks one question, with the panels that answer it; and its JSON."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import count
from typing import Literal

from grafana_foundation_sdk.builders import prometheus, stat, timeseries
from grafana_foundation_sdk.builders.dashboard import Dashboard, DatasourceVariable, QueryVariable, Row
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import DashboardCursorSync, DataSourceRef, VariableRefresh

_WIDTH = 24
_SOURCE = DataSourceRef(type_val="prometheus", uid="${datasource}")
"""Whoever has a Grafana already chooses his own."""

Unit = Literal["short", "s", "bytes", "Bps", "ops", "percentunit", "bool_yes_no", "dateTimeFromNow"]


@dataclass(frozen=True)
class Query:
    """PromQL, and how each of its series is called, in Grafana's {{label}}."""

    expression: str
    legend: str = ""


@dataclass(frozen=True)
class Panel:
    """`now`: the last value, large, instead of a curve. `about` says how it is to be read."""

    title: str
    queries: tuple[Query, ...]
    unit: Unit = "short"
    now: bool = False
    about: str = ""


@dataclass(frozen=True)
class Question:
    """A row."""

    text: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True)
class Board:
    """`variable`: a label of the metric `of` from which one value is chosen, as `$variable` in queries."""

    name: str
    title: str
    questions: tuple[Question, ...]
    variable: str = ""
    of: str = ""


def curve(title: str, expression: str, legend: str = "", unit: Unit = "short", about: str = "") -> Panel:
    return Panel(title, (Query(expression, legend),), unit, about=about)


def number(title: str, expression: str, legend: str = "", unit: Unit = "short", about: str = "") -> Panel:
    return Panel(title, (Query(expression, legend),), unit, now=True, about=about)


def rendered(board: Board) -> str:
    """The JSON that Grafana reads."""
    made = (
        Dashboard(board.title)
        .uid(f"pgfleet-{board.name}")
        .tags(["pgfleet"])
        .timezone("browser")
        .time("now-1h", "now")
        .refresh("15s")
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .with_variable(DatasourceVariable("datasource").label("Data source").type("prometheus"))
    )
    if board.variable:
        choice = QueryVariable(board.variable).label(board.variable).datasource(_SOURCE)
        made.with_variable(
            choice.query(f"label_values({board.of}, {board.variable})").refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        )
    identity = count(1)
    for question in board.questions:
        made.with_row(Row(question.text).id(next(identity)))
        for panel in question.panels:
            made.with_panel(_panel(panel, _WIDTH // len(question.panels)).id(next(identity)))
    return JSONEncoder(sort_keys=True, indent=1).encode(made.build()) + "\n"


def _panel(panel: Panel, width: int) -> stat.Panel | timeseries.Panel:
    made = stat.Panel() if panel.now else timeseries.Panel()
    made.title(panel.title).datasource(_SOURCE).unit(panel.unit).span(width).height(4 if panel.now else 8)
    if panel.about:
        made.description(panel.about)
    for letter, query in zip("ABCDEF", panel.queries, strict=False):
        asked = prometheus.Dataquery().ref_id(letter).expr(query.expression).legend_format(query.legend)
        made.with_target(asked.instant() if panel.now else asked.range())
    return made
