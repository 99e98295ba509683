"""The picture of what plans owe to the task's objects, layer by layer."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from vla_bench.inspecting.panels import OUTLINE, outline, show_image
from vla_bench.inspecting.playing import Moment
from vla_bench.inspecting.sensitivity import Point, Study, Tokens, Trial
from vla_bench.reports.drawing import COLOURS, MARKERS, Look, curve
from vla_bench.reports.statistics.resampling import Interval

RELEVANT = Look(COLOURS[1], MARKERS[0], "-", hollow=False)
CONTROL = Look(COLOURS[0], MARKERS[1], (0, (4, 2)), hollow=True)
TINT = 0.55
"""How much of the image the colour of a zeroed token hides."""
SIZE_IN = (7.6, 4.2)


def sensitivity_figure(study: Study, policy: str, suite: str, cameras: Sequence[str]) -> Figure:
    """Curves by layer, and beside them which tokens were zeroed in one of the plans.

    Args:
        study: From `study`.
        policy: Name of the policy.
        suite: Name of the suite.
        cameras: Cameras that the policy reads, in order; at least one.
    """
    figure = Figure(figsize=SIZE_IN, layout="constrained")
    figure.suptitle(_title(study, policy, suite), fontsize=9)
    chart, *images = figure.subplot_mosaic(
        [["chart", str(view)] for view in range(min(2, len(cameras)))], width_ratios=[1.8, 1]
    ).values()
    _curves(chart, study)
    record, moment, trial = _example(study)
    for view, ax in enumerate(images):
        _tokens(ax, moment, trial, view, cameras[view])
        ax.set_ylabel(cameras[view])
    images[0].set_title(f"{record}, step {moment.look.step}", fontsize=8)
    handles = [
        Patch(color=RELEVANT.colour, alpha=TINT, label="tokens of the task's objects"),
        Patch(color=CONTROL.colour, alpha=TINT, label="as many others, one draw"),
        Patch(facecolor="none", edgecolor=OUTLINE, linewidth=1.5, label="objects of the task"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=3, frameon=False)
    return figure


def _title(study: Study, policy: str, suite: str) -> str:
    plans, episodes = sum(map(len, study.trials)), len(study.trials)
    tasks = list(dict.fromkeys(record.task for record, _ in study.episodes))
    named = tasks[0] if len(tasks) == 1 else f"{len(tasks)} tasks"
    left_out = f", {study.left_out} left out" if study.left_out else ""
    return (
        f"sensitivity to what is seen: {policy}, {suite}, {named}\n"
        f"{episodes} episodes, {plans} plans{left_out}; means, 95 % bootstrap intervals over episodes"
    )


def _curves(ax: Axes, study: Study) -> None:
    layers = study.layers()
    x = np.array([layer.layer for layer in layers])
    # Set apart a little, so that both intervals can be seen.
    for points, look, label, aside in (
        ([layer.relevant for layer in layers], RELEVANT, "the task's objects", -0.03),
        ([layer.control for layer in layers], CONTROL, "as many other tokens", 0.03),
    ):
        drawn = [(point.mean, _interval(point)) for point in points]
        curve(ax, (x + aside).tolist(), drawn, look, label)
    ax.set_ylim(bottom=0)
    ax.set_xticks(x, ["0\ninput", *map(str, x[1:-1]), f"{x[-1]}\noutput"])
    ax.set_xlabel("layer whose visual tokens are zeroed")
    ax.set_ylabel("mean squared change of the chunk\n(normalised units)")
    ax.legend()


def _interval(point: Point) -> Interval:
    return point.interval or (point.mean, point.mean)


def _example(study: Study) -> tuple[str, Moment[Trial | None], Trial]:
    """The plan in which most tokens are relevant."""
    found = [
        (record.place, moment, moment.shown)
        for record, moments in study.episodes
        for moment in moments
        if moment.shown
    ]
    return max(found, key=lambda example: int(example[2].relevant.sum()))


def _tokens(ax: Axes, moment: Moment[Trial | None], trial: Trial, view: int, camera: str) -> None:
    image = moment.observation.images[camera]
    show_image(ax, image)
    for tokens, look in ((trial.relevant, RELEVANT), (trial.control, CONTROL)):
        _tint(ax, tokens[view], look.colour, image.shape[:2])
    outline(ax, moment.look.relevant[camera])


def _tint(ax: Axes, cells: Tokens, colour: str, size: tuple[int, ...]) -> None:
    shade = np.zeros((*cells.shape, 4))
    shade[cells] = (*to_rgb(colour), TINT)
    height, width = size
    ax.imshow(shade, interpolation="nearest", extent=(-0.5, width - 0.5, height - 0.5, -0.5))
