"""A table as values: what a renderer needs to print it, in whatever form."""

from __future__ import annotations

import itertools
import string
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

Kind = Literal["measured", "elsewhere", "quoted"]
"""Run by us; run elsewhere, with records; printed in a paper."""
KINDS: Mapping[Kind, str] = {
    "measured": "measured here",
    "elsewhere": "run elsewhere, with records",
    "quoted": "quoted, not measured",
}
KIND_MARKS: Mapping[Kind, str] = {"measured": "", "elsewhere": "‡", "quoted": "†"}
"""Behind the first cell of a row, where there is no room for words."""


@dataclass(frozen=True)
class Value:
    """A number of a table, in the unit of its column, with what belongs to it."""

    number: float | None
    """None where nothing was measured."""
    digits: int = 1
    """Decimals printed."""
    interval: tuple[float, float] | None = None
    """Lower and upper bound; printed unless there is a spread."""
    count: tuple[int, int] | None = None
    """Successes and episodes behind a rate."""
    spread: float | None = None
    """Standard deviation, e.g. over trials, as papers print it."""
    signed: bool = False
    """Whether a plus sign is printed: for differences."""
    best: bool = False
    """Printed bold; only of what is significantly better than all else in the column."""
    notes: tuple[str, ...] = ()
    """Footnotes."""

    def __str__(self) -> str:
        return " ".join([self.shown, *self.details])

    @property
    def shown(self) -> str:
        """The number, with its spread if there is one."""
        if self.number is None:
            return "-"
        spread = "" if self.spread is None else f" ± {self.spread:.{self.digits}f}"
        return self.printed(self.number) + spread

    @property
    def details(self) -> Sequence[str]:
        """What stands behind it, or in smaller print below: interval and count."""
        found = []
        if self.number is not None and self.interval is not None and self.spread is None:
            low, high = map(self.printed, self.interval)
            found.append(f"[{low}, {high}]")
        if self.count is not None:
            found.append(f"{self.count[0]}/{self.count[1]}")
        return found

    def printed(self, number: float) -> str:
        """A number with the decimals and sign of this one; adding 0.0 turns -0.0 into 0.0."""
        return f"{round(number, self.digits) + 0.0:{'+' if self.signed else ''}.{self.digits}f}"


Cell = str | Value


@dataclass(frozen=True)
class Column:
    """A column's head."""

    title: str
    group: str = ""
    """Head over this column and its neighbours of the same group."""
    numeric: bool = True
    """Whether it is aligned to the right."""


@dataclass(frozen=True)
class Row:
    """A row: as many cells as there are columns."""

    cells: Sequence[Cell]
    kind: Kind = "measured"
    section: str = ""
    """Line over this row and its neighbours of the same section."""


@dataclass(frozen=True)
class Table:
    """A table.

    Raises:
        ValueError: A row has another number of cells than there are columns.
    """

    name: str
    """Stem of its files."""
    title: str
    columns: Sequence[Column]
    rows: Sequence[Row]
    caption: str = ""
    """What is shown: estimand, interval, numbers of episodes."""

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row.cells) != len(self.columns):
                raise ValueError(
                    f"{self.name}: {len(row.cells)} cells for {len(self.columns)} columns"
                )

    @property
    def grouped(self) -> bool:
        """Whether there is a line of group heads."""
        return any(column.group for column in self.columns)

    def groups(self) -> Sequence[tuple[str, int]]:
        """Group heads with the number of their columns, from left to right."""
        runs = itertools.groupby(self.columns, key=lambda column: column.group)
        return [(group, len(list(columns))) for group, columns in runs]

    def sections(self) -> Iterator[tuple[str, Sequence[Row]]]:
        """Rows by section, in order."""
        for section, rows in itertools.groupby(self.rows, key=lambda row: row.section):
            yield section, list(rows)

    @cached_property
    def footnotes(self) -> Mapping[str, str]:
        """Footnote -> its mark, in the order in which they first appear."""
        notes = (
            note
            for row in self.rows
            for cell in row.cells
            if isinstance(cell, Value)
            for note in cell.notes
        )
        return dict(zip(dict.fromkeys(notes), marks_in_order(), strict=False))

    def marks(self, cell: Cell) -> str:
        """The marks of a cell's footnotes, as `a,b`; empty without any."""
        notes = () if isinstance(cell, str) else cell.notes
        return ",".join(mark for note, mark in self.footnotes.items() if note in notes)

    @property
    def legend(self) -> Mapping[str, str]:
        """What the marks of kinds mean, of those that there are."""
        kinds = {row.kind for row in self.rows}
        return {mark: KINDS[kind] for kind, mark in KIND_MARKS.items() if mark and kind in kinds}


def marks_in_order() -> Iterator[str]:
    """a, b, ..., z, aa, ab, ...: letters, as a digit behind a number would be read as part of it."""
    for length in itertools.count(1):
        for letters in itertools.product(string.ascii_lowercase, repeat=length):
            yield "".join(letters)
