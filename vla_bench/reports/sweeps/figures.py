"""Figures of a finished sweep: success with intervals, told apart in grey print too."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, PercentFormatter

from vla_bench.reports.drawing import HEIGHT_IN, STYLE, WIDTH_IN, Look, curve, looks, save
from vla_bench.reports.statistics.intervals import wilson
from vla_bench.reports.statistics.resampling import Interval
from vla_bench.reports.sweeps.results import PointResult, SweepResults
from vla_bench.reports.sweeps.value_axis import ValueAxis
from vla_bench.sweeps.card import Arm, Panel, written

Y_LABELS: Mapping[Panel, str] = {
    "success": "success rate",
    "collided": "episodes with a collision",
    "queries_per_s": "success rate",
    "steps_to_success": "control steps to success",
    "attention": "attention on the objects of the task",
}


def write_figure(results: SweepResults, stem: Path) -> Sequence[Path]:
    """Writes the figure of a sweep as SVG, PDF and PNG.

    Args:
        results: What came of it.
        stem: Path without suffix.

    Returns:
        The files.
    """
    with rc_context(STYLE):
        return save(draw(results), stem)


def draw(results: SweepResults) -> Figure:
    """The figure: one panel beside the other, a legend below."""
    panels = results.sweep.panels
    arms = looks({arm.label: arm.policy for arm in results.sweep.arms})
    rows = math.ceil(len(arms) / (2 * len(panels)))
    size = (WIDTH_IN * len(panels), HEIGHT_IN + 0.3 + 0.17 * rows)
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots(1, len(panels), squeeze=False)[0]
    for panel, ax in zip(panels, axes, strict=True):
        _panel(results, panel, ax, arms)
    world = f" ({results.world})" if results.world else ""
    figure.suptitle(f"{results.suite.name}{world}: {results.sweep.description}", fontsize=8)
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2 * len(panels))
    return figure


def caption(results: SweepResults) -> str:
    """What the figure shows, with its numbers of episodes."""
    trainings = max(len(point.trainings) for point in results.points)
    per_point = f"{len(results.kept.items)} items"
    if trainings > 1:
        per_point += f" x {trainings} trainings"
    lines = [
        f"Success over {per_point} a point; bars: 95 % bootstrap interval over trainings and items."
    ]
    if "collided" in results.sweep.panels:
        lines.append("Collisions: Wilson interval over all episodes.")
    if "steps_to_success" in results.sweep.panels:
        lines.append("Steps: mean over successful episodes.")
    if "attention" in results.sweep.panels:
        even = np.mean([run.attention.even for run in results.points[0].trainings if run.attention])
        lines.append(
            f"Attention: mean share of the map `{results.sweep.attention}` that lies on the objects of "
            f"the task as an item begins; spread evenly it would be {100 * even:.1f} %."
        )
    if "queries_per_s" in results.sweep.panels:
        lines.append(f"Labels at points: {results.sweep.axis_name}.")
    if results.world:
        lines.append(f"{results.suite.name} is a {results.world}.")
    return " ".join(lines)


def _panel(results: SweepResults, panel: Panel, ax: Axes, arms: Mapping[str, Look]) -> None:
    axis = ValueAxis.of([point.value for point in results.points])
    for nth, arm in enumerate(results.sweep.arms):
        points = results.of_arm(arm)
        if panel == "queries_per_s":
            x = [point.queries_per_s or math.nan for point in points]
        else:
            x = [axis.place(point.value, nth, len(arms)) for point in points]
        _curve(results, panel, ax, arm, arms[arm.label], points, x)
    ax.set_ylabel(Y_LABELS[panel])
    if panel in ("steps_to_success", "attention"):
        ax.set_ylim(0, None)
    else:
        ax.set_ylim(-0.02, 1.02)
    if panel != "steps_to_success":
        ax.yaxis.set_major_formatter(PercentFormatter(1.0))
    if panel == "queries_per_s":
        ax.set_xscale("log")
        ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        ax.xaxis.set_major_formatter("{x:g}")
        ax.xaxis.set_minor_formatter(NullFormatter())
        ax.set_xlabel(f"queries per second (batch {results.kept.points[0].batch})")
    else:
        axis.label(ax, results.sweep.axis_name)


def _curve(
    results: SweepResults,
    panel: Panel,
    ax: Axes,
    arm: Arm,
    look: Look,
    points: Sequence[PointResult],
    x: Sequence[float],
) -> None:
    measured = [_measured(results, panel, point) for point in points]
    y = [value for value, _ in measured]
    line = curve(ax, x, measured, look, arm.label)
    line.set_gid(f"curve {panel} {arm.label}")
    if arm.reference and panel != "queries_per_s":
        ax.axhline(y[0], color=look.colour, linestyle=look.dash, linewidth=0.8, zorder=1)
    if panel == "queries_per_s":
        for point, place_x, place_y in zip(points, x, y, strict=True):
            if point.value is not None:
                ax.annotate(
                    written(point.value),
                    (place_x, place_y),
                    xytext=(3, -8 if look.hollow else 3),
                    textcoords="offset points",
                    fontsize=6,
                    color=look.colour,
                )


def _measured(results: SweepResults, panel: Panel, point: PointResult) -> tuple[float, Interval]:
    """A point's height and interval in a panel."""
    if panel in ("steps_to_success", "attention"):
        return results.mean(point, panel)
    if panel != "collided":
        return point.rate, results.interval(point)
    if point.collided is None:
        return math.nan, (math.nan, math.nan)
    return point.collided, wilson(round(point.collided * point.episodes), point.episodes)
