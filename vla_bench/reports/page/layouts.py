"""The papers' own tables, with our runs above the quoted rows; of real suites only."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from statistics import fmean, pstdev

from vla_bench.reports.caveats import caveats
from vla_bench.reports.page.entries import Entry
from vla_bench.reports.page.report import Section
from vla_bench.reports.page.values import count, of_task, rate
from vla_bench.reports.published import LAYOUTS, Layout, MeasuredRow
from vla_bench.reports.success import SuccessRow, mean_rate
from vla_bench.reports.tables.table import Cell, Table, Value

TEXT = (
    "Rows that are quoted were printed by others, on their machines and with their weights: they stand "
    "beside ours to be looked at, and are ranked with nothing."
)


def section(suite: str, entries: Sequence[Entry]) -> Section | None:
    """The layouts that fit the suite; None of a mini world, whose numbers are of another world."""
    runs = [entry for entry in entries if as_printed(entry)]
    tables = [_table(suite, layout, runs) for layout in fitting(suite) if runs]
    return Section("As the papers print it", tables, [TEXT]) if tables else None


def as_printed(entry: Entry) -> bool:
    """Whether a run was made under the conditions of a paper's table."""
    manifest = entry.run.manifest
    undisturbed = manifest.input_control == "none" and not manifest.delay
    return undisturbed and not entry.run.mini and entry.mean is not None


def _table(suite: str, layout: Layout, runs: Sequence[Entry]) -> Table:
    rows = [
        MeasuredRow(entry.label, _noted(cells(layout, entry), entry), entry.kind) for entry in runs
    ]
    table = layout(rows)
    return Table(f"{suite}-{table.name}", table.title, table.columns, table.rows, table.caption)


def _noted(found: dict[str, Cell], entry: Entry) -> Mapping[str, Cell]:
    """The cells, with footnotes to the first number: what a reader has to know of the run."""
    notes = tuple(caveats(entry.run.manifest))
    for key, cell in found.items():
        if notes and isinstance(cell, Value) and cell.interval is not None:
            return {**found, key: replace(cell, notes=(*cell.notes, *notes))}
    return found


def fitting(suite: str) -> Sequence[Layout]:
    """The layouts that runs of a suite fit into; the first compares methods by their means."""
    names = next((names for start, names in BY_SUITE.items() if suite.startswith(start)), ())
    return [LAYOUTS[name] for name in names]


def cells(layout: Layout, entry: Entry) -> dict[str, Cell]:
    """What a run has for a layout's columns, by key."""
    found = CELLS[layout.name](entry)
    return {key: cell for key, cell in found.items() if key in layout.keys}


def _ms_hab(entry: Entry) -> Mapping[str, Cell]:
    """Mean and spread over trials, as the paper prints them; the average is of the paper's tasks."""
    tasks = {row.task: row for row in entry.rows}
    printed = [key for key in LAYOUTS["anchorvla-table-1"].keys if key in tasks]
    inputs = entry.run.manifest.policy.inputs
    return {
        "input": "RGB" if inputs.images else "privileged" if inputs.privileged else "state",
        "horizon": count(entry.run.manifest.horizon),
        **{task: _task_over_trials(entry, tasks[task]) for task in printed},
        "average": rate(mean_rate([tasks[task] for task in printed])),
        **_episodes(entry.rows),
    }


def _task_over_trials(entry: Entry, row: SuccessRow) -> Value:
    clean = entry.run.clean
    played = clean[clean["recorded"] & (clean["task"] == row.task)]
    rates = [100 * float(value) for value in played.groupby("trial")["success"].mean()]
    if len(rates) < 2:
        return of_task(row)
    return Value(fmean(rates), spread=pstdev(rates), count=(row.successes, row.episodes))


def _libero(entry: Entry) -> Mapping[str, Cell]:
    suites: dict[str, list[SuccessRow]] = {}
    for row in entry.rows:
        suites.setdefault(row.suite, []).append(row)
    average = {"average": rate(entry.mean)} if len(suites) > 1 else {}
    episodes = min(sum(row.episodes for row in rows) for rows in suites.values())
    return {
        **{suite: rate(mean_rate(rows)) for suite, rows in suites.items()},
        **average,
        "episodes": count(episodes),
    }


def _libero_tasks(entry: Entry) -> Mapping[str, Cell]:
    places = {task: n for n, task in enumerate(entry.run.manifest.suite.tasks, 1)}
    return {
        "suite": entry.rows[0].suite.removeprefix("libero-").capitalize(),
        **{f"task {places[row.task]}": of_task(row) for row in entry.rows},
        "average": rate(entry.mean),
        **_episodes(entry.rows),
    }


def _robotwin(entry: Entry) -> Mapping[str, Cell]:
    level = entry.run.manifest.suite.name.rpartition("-")[2]
    printed = [
        row for row in entry.rows if f"{row.task}/{level}" in LAYOUTS["focusvla-table-5"].keys
    ]
    return {
        **{f"{row.task}/{level}": of_task(row) for row in printed},
        f"average/{level}": rate(mean_rate(printed)),
        **{f"{key}/{level}": cell for key, cell in _episodes(printed).items()},
    }


def _episodes(rows: Sequence[SuccessRow]) -> Mapping[str, Cell]:
    """Episodes behind each task's rate; the fewest where they differ."""
    return {"episodes": count(min((row.episodes for row in rows), default=0))}


BY_SUITE: Mapping[str, Sequence[str]] = {
    "ms-hab": ("anchorvla-table-1",),
    "libero-90": (),
    "libero-": ("focusvla-table-1", "focusvla-table-4"),
    "libero": ("focusvla-table-1",),
    "robotwin": ("focusvla-table-5",),
}
"""Start of a suite's name -> names of the layouts that its runs fit into; the first that fits."""
CELLS: Mapping[str, Callable[[Entry], Mapping[str, Cell]]] = {
    "anchorvla-table-1": _ms_hab,
    "focusvla-table-1": _libero,
    "focusvla-table-4": _libero_tasks,
    "focusvla-table-5": _robotwin,
}
"""Layout -> what a run has for its columns."""
