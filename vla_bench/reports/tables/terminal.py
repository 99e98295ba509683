"""A table in the terminal."""

from __future__ import annotations

from textwrap import fill

import rich.table
from rich.console import Console, ConsoleOptions, Group, RenderResult
from rich.measure import Measurement
from rich.text import Text

from vla_bench.reports.tables.table import KINDS, Cell, Row, Table, Value


def terminal(table: Table) -> Group:
    """The table under its title, with caption and footnotes, to be printed by rich."""
    drawn = rich.table.Table(
        title=table.title, title_justify="left", show_edge=False, pad_edge=False
    )
    for place, column in enumerate(table.columns):
        head = f"{column.group} {column.title}".strip()
        if column.numeric:
            widest = max([1, *(len(str(row.cells[place])) for row in table.rows)])
            head = fill(head, widest, break_long_words=False, break_on_hyphens=False)
        # What is read as a number stays on its line.
        drawn.add_column(
            Text(head),
            justify="right" if column.numeric else "left",
            overflow="fold",
            no_wrap=column.numeric,
        )
    for section, rows in table.sections():
        if section:
            drawn.add_section()
            drawn.add_row(_Slug(section, "bold"))
        for row in rows:
            drawn.add_row(*(_cell(table, row, cell) for cell in row.cells))
    notes = [Text(f"{mark}) {note}") for note, mark in table.footnotes.items()]
    return Group(drawn, *([Text(table.caption, style="dim")] if table.caption else []), *notes)


class _Slug:
    """Text that may be broken at its hyphens: tasks have long names of that kind."""

    def __init__(self, text: str, style: str = "") -> None:
        self.text, self.style = text, style

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        longest = max(map(len, self.text.replace("-", "- ").split()), default=0)
        return Measurement(longest, len(self.text))

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield Text(fill(self.text, options.max_width), self.style)


def _cell(table: Table, row: Row, cell: Cell) -> Text | _Slug:
    if isinstance(cell, str) and row.kind == "measured":
        return _Slug(cell)
    text = Text(str(cell), style="bold" if isinstance(cell, Value) and cell.best else "")
    if marks := table.marks(cell):
        text.append(f" {marks})", style="dim")
    if cell is row.cells[0] and row.kind != "measured":
        text.append(f" ({KINDS[row.kind]})", style="italic")
    return text
