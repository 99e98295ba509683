"""A table as CSV: one column for each number, so that it can be read back."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence

from vla_bench.reports.tables.table import Cell, Table, Value

PARTS = ("low", "high", "spread", "k", "n")
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
    found = [_numbers(row.cells[place]) for row in table.rows]
    return [part for part in PARTS if any(numbers.get(part) is not None for numbers in found)]


def _numbers(cell: Cell) -> Mapping[str, float | None]:
    """What belongs to a number, by part."""
    if isinstance(cell, str):
        return {}
    low, high = cell.interval or (None, None)
    k, n = cell.count or (None, None)
    return {"low": low, "high": high, "spread": cell.spread, "k": k, "n": n}


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
    numbers = _numbers(cell)
    for number in (cell.number, *(numbers[part] for part in parts)):
        yield "" if number is None else f"{number + 0.0:.6g}"
