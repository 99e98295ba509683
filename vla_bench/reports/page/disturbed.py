"""What perturbations cost: the same items clean and perturbed, run by run, and against the level."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from vla_bench.perturbations.catalogue import kind_and_level
from vla_bench.reports.drawing import HEIGHT_IN, WIDTH_IN, curve, looks
from vla_bench.reports.page.entries import Entry
from vla_bench.reports.page.report import Part, Picture, Section
from vla_bench.reports.page.values import count, points
from vla_bench.reports.paired import PairedRow
from vla_bench.reports.perturbed import paired_rows
from vla_bench.reports.statistics.intervals import wilson
from vla_bench.reports.sweeps.value_axis import ValueAxis
from vla_bench.reports.tables.table import Column, Row, Table, Value

LEAST = 2
"""Levels of one perturbation that make a curve, beside the clean episodes."""


def section(suite: str, entries: Sequence[Entry]) -> Section | None:
    """Clean and perturbed; None of runs without a perturbation."""
    found = {
        entry.label: {arm: rows[-1] for arm, rows in paired_rows(entry.run).items()}
        for entry in entries
    }
    if not any(found.values()):
        return None
    arms = sorted({arm for of_run in found.values() for arm in of_run})
    parts: list[Part] = [
        *_pictures(suite, entries, found, arms),
        _table(suite, entries, found, arms),
    ]
    text = []
    for arm in arms:
        kind, level = kind_and_level(arm)
        text.append(f"{arm}: {kind.description}; {kind.said(level)}.")
    return Section("Clean and perturbed", parts, text)


Found = Mapping[str, Mapping[str, PairedRow]]
"""Label -> perturbation -> its pairs, all tasks together."""


def _table(suite: str, entries: Sequence[Entry], found: Found, arms: Sequence[str]) -> Table:
    columns = [
        Column("Run", numeric=False),
        Column("clean", "success, %"),
        Column("perturbed", "success, %"),
        Column("difference"),
        Column("only clean", "items solved"),
        Column("only perturbed", "items solved"),
        Column("harness errors"),
        Column("missing"),
    ]
    rows = [
        Row(_cells(entry.label, found[entry.label][arm]), entry.kind, section=arm)
        for arm in arms
        for entry in entries
        if arm in found[entry.label]
    ]
    caption = (
        "The same items with the same draws, clean and perturbed, all tasks together; an item counts "
        "when both its episodes are recorded. Success: Wilson's 95 % intervals; difference in "
        "percentage points: Newcombe's for paired rates."
    )
    return Table(f"{suite}-perturbed", "Clean and perturbed", columns, rows, caption)


def _cells(label: str, row: PairedRow) -> list[str | Value]:
    return [
        label,
        *(_rate(solved, row.pairs.total) for solved in row.solved),
        Value(None) if row.difference is None else points(row.difference),
        count(row.pairs.only_first),
        count(row.pairs.only_second),
        count(row.harness_errors),
        count(row.missing),
    ]


def _rate(successes: int, pairs: int) -> Value:
    if not pairs:
        return Value(None)
    low, high = wilson(successes, pairs)
    return Value(
        100 * successes / pairs, interval=(100 * low, 100 * high), count=(successes, pairs)
    )


def _pictures(
    suite: str, entries: Sequence[Entry], found: Found, arms: Sequence[str]
) -> Iterator[Picture]:
    for kind in dict.fromkeys(arm.partition(":")[0] for arm in arms):
        levels = sorted(int(arm.partition(":")[2]) for arm in arms if arm.partition(":")[0] == kind)
        drawn = [e for e in entries if any(f"{kind}:{level}" in found[e.label] for level in levels)]
        if len(levels) >= LEAST:
            figure = _draw(kind, levels, drawn, found)
            caption = (
                f"Success on {suite} against the level of {kind}; level 0: the clean episodes of the "
                "same items. Bars: Wilson's 95 % intervals over all tasks' items."
            )
            yield Picture(f"{suite}-{kind}", f"Success under {kind}", caption, figure)


def _draw(kind: str, levels: Sequence[int], entries: Sequence[Entry], found: Found) -> Figure:
    height = HEIGHT_IN + 0.17 * len(entries)
    figure = Figure(figsize=(WIDTH_IN, height), layout="constrained")
    ax = figure.subplots()
    axis = ValueAxis.of([0, *levels])
    look = looks({entry.label: entry.policy for entry in entries})
    for nth, entry in enumerate(entries):
        of = {
            level: found[entry.label][f"{kind}:{level}"]
            for level in levels
            if f"{kind}:{level}" in found[entry.label]
        }
        first = next(iter(of.values()))
        counts = {0: (first.solved[0], first.pairs.total)} | {
            level: (row.solved[1], row.pairs.total) for level, row in of.items()
        }
        x = [axis.place(level, nth, len(entries)) for level, (_, n) in counts.items() if n]
        curve(
            ax,
            x,
            [(k / n, wilson(k, n)) for k, n in counts.values() if n],
            look[entry.label],
            entry.label,
        )
    axis.label(ax, f"level of {kind}")
    ax.set_ylabel("success rate")
    ax.set_ylim(-0.02, 1.02)
    ax.yaxis.set_major_formatter(PercentFormatter(1.0))
    handles, labels = ax.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=1)
    return figure
