"""A table as CSV: one column for each number, so that it can be read back."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence

from vla_bench.reports.tables.table import Cell, Table, Value

PARTS = ("low", "high", "spread")
"""What may belong to a number, each in a column of its own."""


def csv_text(table: Table) -> str:
    """The table with a header line; numbers to six digits, empty where there are none."""
    kept = [_parts(table, place) for place in range(len(table.columns))]
    sectioned = any(row.section for row in table.rows)
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(_header(table, kept, sectioned))
    for row in table.rows:
        written = [row.kind, *([row.section] if sectioned else [])]
        for cell, parts in zip(row.cells, kept, strict=True):
            written += _fields(cell, parts)
        notes = (note for cell in row.cells if isinstance(cell, Value) for note in cell.notes)
        writer.writerow([*written, "; ".join(dict.fromkeys(notes))])
    return out.getvalue()


def _parts(table: Table, place: int) -> Sequence[str]:
    """The parts that any number of a column has."""
    values = [row.cells[place] for row in table.rows]
    intervals = any(isinstance(v, Value) and v.interval is not None for v in values)
    spreads = any(isinstance(v, Value) and v.spread is not None for v in values)
    return [part for part in PARTS if (spreads if part == "spread" else intervals)]


def _header(table: Table, kept: Sequence[Sequence[str]], sectioned: bool) -> list[str]:
    heads = ["kind", *(["section"] if sectioned else [])]
    for column, parts in zip(table.columns, kept, strict=True):
        name = f"{column.group}: {column.title}" if column.group else column.title
        heads += [name, *(f"{name} {part}" for part in parts)]
    return [*heads, "notes"]


def _fields(cell: Cell, parts: Sequence[str]) -> Iterator[str]:
    if isinstance(cell, str):
        yield from [cell, *[""] * len(parts)]
        return
    low, high = cell.interval or (None, None)
    values = {"low": low, "high": high, "spread": cell.spread}
    for number in (cell.number, *(values[part] for part in parts)):
        yield "" if number is None else f"{number + 0.0:.6g}"
