"""A table in Markdown."""

from __future__ import annotations

from collections.abc import Iterator

from vla_bench.reports.tables.table import KIND_MARKS, Cell, Row, Table, Value


def markdown(table: Table, heading: str = "##") -> str:
    """The table under its title, with caption and footnotes.

    Rows that were not measured here are in italics and carry a mark; a section is a line in bold.

    Args:
        table: What to print.
        heading: Mark of the title's level; empty leaves the title out.
    """
    lines = [f"{heading} {table.title}", ""] if heading else []
    lines += [table.caption, ""] if table.caption else []
    heads = [
        _escaped(f"{column.group}: {column.title}" if column.group else column.title)
        for column in table.columns
    ]
    lines.append(_line(heads))
    lines.append(_line(["--:" if column.numeric else "---" for column in table.columns]))
    lines += _rows(table)
    notes = [f"{mark} {meaning}" for mark, meaning in table.legend.items()]
    notes += [f"<sup>{mark}</sup> {note}" for note, mark in table.footnotes.items()]
    return "\n".join([*lines, "", *("  \n".join(notes).splitlines())]).rstrip() + "\n"


def _rows(table: Table) -> Iterator[str]:
    for section, rows in table.sections():
        if section:
            yield _line([f"**{_escaped(section)}**", *[""] * (len(table.columns) - 1)])
        for row in rows:
            yield _line([_cell(table, row, cell) for cell in row.cells])


def _cell(table: Table, row: Row, cell: Cell) -> str:
    text = _escaped(str(cell))
    if isinstance(cell, Value) and cell.best:
        text = f"**{text}**"
    elif row.kind != "measured" and text.strip():
        text = f"*{text}*"
    if cell is row.cells[0] and row.kind != "measured":
        text += KIND_MARKS[row.kind]
    marks = table.marks(cell)
    return f"{text}<sup>{marks}</sup>" if marks else text


def _line(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _escaped(text: str) -> str:
    return text.replace("|", "\\|").replace("*", "\\*").replace("<", "&lt;")
