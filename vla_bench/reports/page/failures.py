"""How episodes end, and what the failed ones have got done."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from vla_bench.reports.drawing import COLOURS, LETTER_IN
from vla_bench.reports.measured import STATUS
from vla_bench.reports.page.entries import Entry
from vla_bench.reports.page.report import Picture, Section
from vla_bench.reports.page.values import count, share
from vla_bench.reports.tables.table import Cell, Column, Row, Table

BAR_IN, WIDTH_IN = 0.2, 3.6
"""Height of a run's bar, width of all."""
REASONS: Mapping[str, str] = {
    "success": "success",
    "timeout": "timeout",
    "policy_error": "policy error",
    "harness_error": "harness error",
    "missing": "missing",
}
"""Reason in a record -> how it is called here."""
LOOKS: Mapping[str, tuple[str, str]] = {
    "success": (COLOURS[0], ""),
    "timeout": (COLOURS[4], ""),
    "policy_error": (COLOURS[3], "////"),
    "harness_error": (COLOURS[1], "xxxx"),
    "missing": ("#ffffff", "...."),
}
"""Colour and hatching."""


def section(suite: str, entries: Sequence[Entry]) -> Section:
    """Shares of the ways to end: by task in a table, over all tasks in a figure."""
    return Section("How episodes end", [_picture(suite, entries), _table(suite, entries)])


def _table(suite: str, entries: Sequence[Entry]) -> Table:
    measures = yes_or_no(entries)
    columns = [
        Column("Task", numeric=False),
        Column("episodes"),
        *(Column(name, "ended by, %") for name in REASONS.values()),
        Column("failures"),
        *(Column(name, "of the failures, %") for name in measures),
    ]
    rows = [
        Row(_cells(str(task), frame, measures), entry.kind, section=entry.label)
        for entry in entries
        for task, frame in _needed(entry, measures).groupby("task", observed=True, sort=False)
    ]
    caption = "Shares of a task's episodes."
    if measures:
        caption += (
            " Of the failures: those for which the suite's own measure says yes at the end "
            "of the episode, of those for which it says anything."
        )
    return Table(f"{suite}-failures", "How episodes end", columns, rows, caption)


def _needed(entry: Entry, measures: Sequence[str]) -> pd.DataFrame:
    names = ["task", "recorded", "success", "reason", *(f"{STATUS}{name}" for name in measures)]
    return entry.run.clean.reindex(columns=names)


def yes_or_no(entries: Sequence[Entry]) -> Sequence[str]:
    """The suite's measures at the end of an episode that are only ever 0 or 1."""
    names = dict.fromkeys(
        name for e in entries for name in e.run.clean.columns if name.startswith(STATUS)
    )
    frames = [entry.run.clean for entry in entries]
    return [
        name.removeprefix(STATUS)
        for name in names
        if all(f[name].dropna().isin((0.0, 1.0)).all() for f in frames if name in f)
    ]


def _cells(task: str, frame: pd.DataFrame, measures: Sequence[str]) -> list[Cell]:
    failed = frame[frame["recorded"] & ~frame["success"]]
    reasons = frame["reason"].value_counts()
    said = [failed[f"{STATUS}{name}"].dropna() for name in measures]
    return [
        task,
        count(len(frame)),
        *(share(int(reasons.get(reason, 0)), len(frame)) for reason in REASONS),
        count(len(failed)),
        *(share(float(values.sum()), len(values)) for values in said),
    ]


def _picture(suite: str, entries: Sequence[Entry]) -> Picture:
    left = LETTER_IN * max(len(entry.label) for entry in entries)
    size = (WIDTH_IN + left, BAR_IN * len(entries) + 0.75)
    figure = Figure(figsize=size, layout="constrained")
    ax = figure.subplots()
    done = np.zeros(len(entries))
    for reason, (colour, hatch) in LOOKS.items():
        widths = np.array([(e.run.clean["reason"] == reason).mean() for e in entries])
        if widths.any():
            ax.barh(
                range(len(entries)),
                100 * widths,
                left=100 * done,
                height=0.75,
                color=colour,
                edgecolor=COLOURS[0],
                linewidth=0.5,
                hatch=hatch,
                label=REASONS[reason],
            )
        done += widths
    ax.set_yticks(range(len(entries)), [entry.label for entry in entries])
    ax.set_ylim(len(entries) - 0.4, -0.6)
    ax.set_xlim(0, 100)
    ax.set_xlabel("episodes, %")
    ax.grid(visible=False, axis="y")
    ax.tick_params(axis="y", length=0)
    handles, labels = ax.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), handlelength=1.6)
    caption = f"How the clean episodes on {suite} end, all tasks together."
    return Picture(f"{suite}-failures", "How episodes end", caption, figure)
