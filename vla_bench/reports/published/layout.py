"""A paper's own table: what it prints, quoted, below rows of ours in the same columns."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from vla_bench.errors import UserError
from vla_bench.reports.published.checks import remarks
from vla_bench.reports.published.numbers import FOLDER, Quoted, quoted
from vla_bench.reports.tables.table import KINDS, Cell, Column, Kind, Row, Table, Value

SECONDARY = "quoted from a summary of the paper, a secondary source"
UNKNOWN = Value(None)
"""Printed where there is no number."""


@dataclass(frozen=True)
class MeasuredRow:
    """A policy of ours in a paper's table."""

    label: str
    """What the row is called: the policy, and what tells its rows apart."""
    cells: Mapping[str, Cell]
    """Key of a column -> its cell, in the column's unit (success rates in percent); see `Layout.keys`."""
    kind: Kind = "measured"
    """`measured`, or `elsewhere`."""


Notes = Mapping[tuple[object, ...], Sequence[str]]
"""Place of a quoted figure -> its footnotes."""
Show = Callable[[Sequence[Quoted], Notes], Cell]
"""The cell of a quoted row, from the row's figures."""


@dataclass(frozen=True)
class Head:
    """A column of a layout."""

    key: str
    """What a measured row calls it."""
    column: Column
    show: Show


@dataclass(frozen=True)
class Layout:
    """How a table of a paper is set out."""

    name: str
    """Stem of the table's files."""
    title: str
    paper: str
    """Name of the paper's file."""
    table: str
    """What the paper calls it."""
    rows: Sequence[str]
    """Facets that figures of one row share: fields of `Quoted`, keys of its setting."""
    heads: Sequence[Head]
    """The columns after the first, which has the method."""
    label: Callable[[Quoted], str] = field(default=lambda figure: figure.method)
    """What a quoted row is called."""
    section: Callable[[Quoted], str] = field(default=lambda figure: "")
    """The paper's own head over a row, if any."""
    caption: str = ""
    only: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Facet -> values of the figures that are in the table's body; all if left out."""

    tasks_as_rows: bool = False
    """Whether methods are groups of columns, and the groups of `heads` are the rows."""

    @property
    def keys(self) -> Sequence[str]:
        """What a measured row may have cells for."""
        return [head.key for head in self.heads]

    def __call__(self, measured: Sequence[MeasuredRow] = ()) -> Table:
        """The table: rows of ours first, then the paper's, which say that they are quoted.

        Raises:
            ValueError: A row of ours has a cell for a column that is not there.
            UserError: The paper's file has no such table.
        """
        figures = quoted(paper=self.paper, table=self.table)
        if not figures:
            raise UserError(f"{FOLDER}/{self.paper}.csv has no figures of {self.table}")
        table = Table(
            name=self.name,
            title=self.title,
            columns=[Column("Method", numeric=False), *(head.column for head in self.heads)],
            rows=[*map(self._ours, measured), *self._theirs(figures)],
            caption=" ".join(part for part in (self.caption, f"{self._cited(figures)}.") if part),
        )
        return transposed(table) if self.tasks_as_rows else table

    def _cited(self, figures: Sequence[Quoted]) -> str:
        return f"Quoted: {figures[0].citation}"

    def _ours(self, row: MeasuredRow) -> Row:
        unknown = sorted(set(row.cells) - set(self.keys))
        if unknown:
            raise ValueError(f"{self.name} has no column {unknown[0]!r}, only {self.keys}")
        empty = [UNKNOWN if head.column.numeric else "-" for head in self.heads]
        cells = [row.cells.get(key, gap) for key, gap in zip(self.keys, empty, strict=True)]
        return Row([row.label, *cells], row.kind, section=KINDS[row.kind].capitalize())

    def _theirs(self, figures: Sequence[Quoted]) -> Iterator[Row]:
        notes = footnotes(figures)
        for group in self._grouped(figures):
            parts = (self._cited(figures), self.section(group[0]))
            cells = [head.show(group, notes) for head in self.heads]
            section = ": ".join(part for part in parts if part)
            once = {SECONDARY, *(figure.note for figure in group)}
            yield Row([self.label(group[0]), *_noted_once(cells, once)], "quoted", section)

    def _grouped(self, figures: Sequence[Quoted]) -> Sequence[Sequence[Quoted]]:
        rows: dict[tuple[str, ...], list[Quoted]] = {}
        for figure in figures:
            if all(facet(figure, name) in values for name, values in self.only.items()):
                key = tuple(facet(figure, name) for name in self.rows)
                rows.setdefault(key, []).append(figure)
        return list(rows.values())


def number(key: str, title: str, group: str = "", **where: str) -> Head:
    """A column with the figure of a row that has these facets; `-` in a row without one."""

    def show(figures: Sequence[Quoted], notes: Notes) -> Cell:
        for figure in figures:
            if all(facet(figure, name) == value for name, value in where.items()):
                return value_of(figure, notes)
        return UNKNOWN

    return Head(key, Column(title, group), show)


def setting(key: str, title: str, numeric: bool = False) -> Head:
    """A column with what a facet says of the row's figures."""

    def show(figures: Sequence[Quoted], notes: Notes) -> Cell:
        return facet(figures[0], key)

    return Head(key, Column(title, numeric=numeric), show)


def episodes(key: str, title: str, group: str = "", **where: str) -> Head:
    """A column with the number of episodes behind each of the row's figures; more behind a mean."""

    def show(figures: Sequence[Quoted], notes: Notes) -> Cell:
        told = [
            figure.episodes
            for figure in figures
            if figure.metric == "success-rate"
            and all(facet(figure, name) == value for name, value in where.items())
        ]
        known = {n for n in told if n is not None}
        return Value(min(known), digits=0) if known else UNKNOWN

    return Head(key, Column(title, group), show)


def facet(figure: Quoted, name: str) -> str:
    """What tells figures of a table apart: an entry of the setting, or else a field; empty if neither."""
    return figure.setting.get(name, str(getattr(figure, name, "")))


def value_of(figure: Quoted, notes: Notes) -> Value:
    """A figure as it is printed, with its footnotes."""
    return Value(
        figure.number,
        digits=figure.digits,
        spread=None if figure.spread is None else float(figure.spread),
        notes=tuple(notes.get(figure.place, ())),
    )


def footnotes(figures: Sequence[Quoted]) -> Notes:
    """What a reader has to know of each figure: its note, its origin, what recomputing found."""
    notes: dict[tuple[object, ...], list[str]] = {}
    for figure in figures:
        told = [figure.note, SECONDARY if figure.origin == "digest" else ""]
        notes[figure.place] = [note for note in told if note]
    for figure, remark in remarks(figures):
        notes[figure.place].append(remark)
    return notes


def _noted_once(cells: Sequence[Cell], once: Collection[str]) -> Iterator[Cell]:
    """The cells of a row, with these notes marked only on the first that has them."""
    seen: set[str] = set()
    for cell in cells:
        if isinstance(cell, Value):
            notes = tuple(note for note in cell.notes if note not in seen)
            seen.update(set(notes).intersection(once))
            cell = replace(cell, notes=notes)
        yield cell


def transposed(table: Table) -> Table:
    """A table with its column groups as rows and its rows as column groups.

    Args:
        table: Has a first column, then groups of columns, each with the same titles.
    """
    groups = table.groups()[1:]
    size = groups[0][1]
    titles = [column.title for column in table.columns[1 : 1 + size]]
    kinds = {row.kind for row in table.rows}
    kind: Kind = table.rows[0].kind if len(kinds) == 1 else "measured"
    heads = [
        Column(title, group=_name(row) if len(kinds) == 1 else _name_and_kind(row))
        for row in table.rows
        for title in titles
    ]
    rows = []
    for first, (name, _) in zip(itertools.count(1, size), groups, strict=False):
        parts = [row.cells[first : first + size] for row in table.rows]
        rows.append(Row([name, *itertools.chain(*parts)], kind))
    return replace(table, columns=[Column("Task", numeric=False), *heads], rows=rows)


def _name(row: Row) -> str:
    return str(row.cells[0])


def _name_and_kind(row: Row) -> str:
    """Where columns are of several kinds, a row cannot say which its numbers are: their heads do."""
    return _name(row) if row.kind == "measured" else f"{_name(row)} ({KINDS[row.kind]})"
