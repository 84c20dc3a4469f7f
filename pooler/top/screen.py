"""The board on a terminal, by textual: it changes as hosts tell, keys sort and filter."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import ClassVar

from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.widgets import DataTable, Footer, Input, Static

from .board import COLUMNS, Column, arranged, rows, summary
from .seen import Host

_SHOWN = "ncwstl"
"""Keys that the line at the bottom tells of; the others sort as well."""


class Board(App[None]):
    """`sources` are drawn from as long as it is on."""

    CSS = """
    Static { height: 1; background: $primary; color: $text; padding: 0 1; }
    Input { display: none; height: 3; }
    Input.asked { display: block; }
    """
    ENABLE_COMMAND_PALETTE = False
    BINDINGS: ClassVar[list[BindingType]] = [
        *(Binding(each.key, f"sort('{each.key}')", each.title, show=each.key in _SHOWN) for each in COLUMNS),
        Binding("r", "turn", "reverse"),
        Binding("slash", "filter", "filter", key_display="/"),
        Binding("escape", "everything", "all", show=False),
        Binding("q", "quit", "quit"),
    ]

    def __init__(self, sources: Sequence[AsyncIterator[Host]]) -> None:
        super().__init__()
        self._sources = sources
        self._hosts: dict[str, Host] = {}
        self._column: Column = COLUMNS[0]
        self._backwards = False
        self._wanted = ""

    def compose(self) -> ComposeResult:
        yield Static(id="summary")
        yield DataTable(cursor_type="row", zebra_stripes=True)
        yield Input(placeholder="show what has this text in it")
        yield Footer()

    def on_mount(self) -> None:
        self.title = "pooler top"
        table = self.query_one(DataTable)
        for column in COLUMNS:
            table.add_column(column.title, key=column.title)
        table.focus()
        for source in self._sources:
            self.run_worker(self._watch(source))

    async def _watch(self, source: AsyncIterator[Host]) -> None:
        async for host in source:
            self._hosts[host.name] = host
            self.draw()

    def draw(self) -> None:
        """All rows anew: there are few, and they change places."""
        found = arranged(rows(self._hosts.values()), self._column, self._wanted, backwards=self._backwards)
        table = self.query_one(DataTable)
        at = table.cursor_row
        table.clear()
        for row in found:
            table.add_row(*(column.text(row) for column in COLUMNS))
        table.move_cursor(row=at)
        self.query_one("#summary", Static).update(summary(found))

    def action_sort(self, key: str) -> None:
        self._column = next(column for column in COLUMNS if column.key == key)
        self.draw()

    def action_turn(self) -> None:
        self._backwards = not self._backwards
        self.draw()

    def action_filter(self) -> None:
        self.query_one(Input).add_class("asked").focus()

    def action_everything(self) -> None:
        self.query_one(Input).value = ""
        self._leave_filter()

    def on_input_changed(self, event: Input.Changed) -> None:
        self._wanted = event.value
        self.draw()

    def on_input_submitted(self) -> None:
        self._leave_filter()

    def _leave_filter(self) -> None:
        self.query_one(Input).remove_class("asked")
        self.query_one(DataTable).focus()


def show(sources: Sequence[AsyncIterator[Host]]) -> None:
    """Until somebody leaves."""
    asyncio.run(Board(sources).run_async())
