"""Our runs against the means that papers print: differences, and intervals where n is known."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from vla_bench.reports.caveats import known_sets
from vla_bench.reports.page import layouts
from vla_bench.reports.page.entries import Entry
from vla_bench.reports.page.report import Section
from vla_bench.reports.published import Layout, Quoted, quoted
from vla_bench.reports.published.layout import footnotes
from vla_bench.reports.published.numbers import AVERAGE
from vla_bench.reports.statistics.intervals import wilson
from vla_bench.reports.statistics.unpaired import independent_difference
from vla_bench.reports.tables.table import Cell, Column, Row, Table, Value

TEXT = (
    "Ours less what is printed, in percentage points. Others' episodes are not ours, so that nothing is "
    "paired and there is no p-value; weights, machines and often protocols differ too. The interval is "
    "MOVER's, of our interval and Wilson's of the printed mean over its n episodes; where n is not known "
    "there is none."
)
COLUMNS = (
    Column("method", "quoted", numeric=False),
    Column("setting", "quoted", numeric=False),
    Column("printed, %", "quoted"),
    Column("n", "quoted"),
    Column("ours, %"),
    Column("ours less printed"),
)


def section(suite: str, entries: Sequence[Entry]) -> Section | None:
    """Runs that were made as a paper's were, on files not known to be others than the official ones.

    None where there is no such run, or no paper prints the suite's mean.
    """
    runs = [
        entry
        for entry in entries
        if layouts.as_printed(entry) and entry.run.manifest.assets not in known_sets()
    ]
    for layout in layouts.fitting(suite):
        rows = [row for entry in runs for row in _rows(layout, entry)]
        if rows:
            title = "Against published means"
            return Section(title, [Table(f"{suite}-against", title, COLUMNS, rows)], [TEXT])
    return None


def _rows(layout: Layout, entry: Entry) -> Iterator[Row]:
    ours = layouts.cells(layout, entry)
    figures = quoted(paper=layout.paper, table=layout.table, task=AVERAGE, metric="success-rate")
    notes = footnotes(figures)
    for figure in figures:
        own = ours.get(_key(layout, figure))
        if isinstance(own, Value) and own.number is not None and own.interval is not None:
            yield Row(_cells(figure, notes.get(figure.place, ()), own), section=entry.label)


def _key(layout: Layout, figure: Quoted) -> str:
    """What the layout calls the column of a mean."""
    if "difficulty" in figure.setting:
        return f"{AVERAGE}/{figure.setting['difficulty']}"
    return figure.suite if figure.suite in layout.keys else AVERAGE


def _cells(figure: Quoted, notes: Sequence[str], own: Value) -> Sequence[Cell]:
    said = ", ".join(f"{name} {value}" for name, value in _told(figure.setting).items())
    printed = Value(figure.number, figure.digits, notes=tuple(notes))
    episodes = Value(figure.episodes, digits=0)
    return [figure.method, said, printed, episodes, own, _difference(figure, own)]


def _told(setting: Mapping[str, str]) -> Mapping[str, str]:
    return {name: value for name, value in setting.items() if name != "difficulty"}


def _difference(figure: Quoted, own: Value) -> Value:
    assert own.number is not None
    assert own.interval is not None
    if figure.episodes is None:
        return Value(own.number - figure.number, signed=True)
    successes = round(figure.number / 100 * figure.episodes)
    low, high = (100 * bound for bound in wilson(successes, figure.episodes))
    value, interval = independent_difference(
        figure.number, (min(low, figure.number), high), own.number, own.interval
    )
    return Value(value, interval=interval, signed=True)
