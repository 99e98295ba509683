"""Success of every run on every task, as a picture with the numbers in it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from numpy.typing import NDArray

from vla_bench.reports.drawing import COLOURS, LETTER_IN
from vla_bench.reports.page.entries import Entry
from vla_bench.reports.page.report import Picture, Section
from vla_bench.reports.page.success import short

CELL_IN = (0.55, 0.22)
"""Width and height of a cell."""
DARK = 0.72
"""Numbers on more than this are white."""
SHADES = LinearSegmentedColormap.from_list("shades", ["#ffffff", COLOURS[4], COLOURS[0]])
"""One hue from light to dark: the same order in grey."""


def section(suite: str, entries: Sequence[Entry], tasks: Sequence[str]) -> Section | None:
    """A cell per run and task; None of a single cell."""
    if len(entries) * len(tasks) < 2:
        return None
    caption = f"Success in % on {suite}, from light (0) to dark (100); empty: no episode."
    picture = Picture(f"{suite}-heat", "Success by task", caption, _draw(entries, tasks))
    return Section("Task by task", [picture])


def _draw(entries: Sequence[Entry], tasks: Sequence[str]) -> Figure:
    labels, heads = [entry.label for entry in entries], list(short(tasks))
    rates = _rates(entries, tasks)
    if len(heads) > len(labels):
        rates, labels, heads = rates.T, heads, labels
    left, above = (LETTER_IN * max(map(len, names)) for names in (labels, heads))
    size = (
        left + CELL_IN[0] * len(heads) + 0.6 * above + 0.2,
        0.72 * above + CELL_IN[1] * len(labels) + 0.2,
    )
    figure = Figure(figsize=size, layout="constrained")
    ax = figure.subplots()
    ax.pcolormesh(rates, cmap=SHADES, vmin=0, vmax=1, edgecolors="white", linewidth=1)
    ax.set_ylim(len(labels), 0)
    ax.set_xticks(
        np.arange(len(heads)) + 0.5, heads, rotation=40, ha="left", rotation_mode="anchor"
    )
    ax.set_yticks(np.arange(len(labels)) + 0.5, labels)
    ax.xaxis.tick_top()
    ax.tick_params(length=0)
    ax.grid(visible=False)
    for spine in ax.spines.values():
        spine.set_visible(False)
    _numbers(ax, rates)
    return figure


def _rates(entries: Sequence[Entry], tasks: Sequence[str]) -> NDArray[np.float64]:
    """Success rates (runs, tasks); NaN without an episode."""
    found = [{row.task: row.rate for row in entry.rows} for entry in entries]
    return np.array([[of.get(task) for task in tasks] for of in found], np.float64)


def _numbers(ax: Axes, rates: NDArray[np.float64]) -> None:
    for (y, x), rate in np.ndenumerate(rates):
        if not np.isnan(rate):
            colour = "white" if rate > DARK else COLOURS[0]
            ax.text(
                x + 0.5,
                y + 0.52,
                f"{100 * rate:.0f}",
                color=colour,
                ha="center",
                va="center",
                size=7,
            )
