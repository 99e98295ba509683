"""What the pictures are made of: an enlarged camera image, and what is drawn over it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from textwrap import wrap

import numpy as np
from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from vla_bench.inspecting.playing import Point
from vla_bench.items import WorkItem
from vla_bench.records import EpisodeRecord
from vla_bench.suites.viewpoint import Viewpoint

Image = NDArray[np.uint8]
Axeses = NDArray[np.object_]
"""(rows, columns) of axes."""
PANEL_IN, LEAST_IN = 1.9, 5.2
"""Side of an image in a figure, and the least width of a figure, for its legend."""
LETTER_IN, LINE_IN = 0.08, 0.15
"""Width of a letter of the title and height of a line."""
OUTLINE, GRIPPER, ANCHOR = "#39ff88", "#00b7ff", "#ff2bd6"
"""Colours that neither simulators nor colour maps are full of."""
EDGE = [patheffects.withStroke(linewidth=2.5, foreground="black")]


def show_image(ax: Axes, image: Image) -> None:
    """An image with square, sharp pixels; data coordinates are pixels."""
    ax.imshow(image, interpolation="nearest")
    ax.set_xlim(-0.5, image.shape[1] - 0.5)
    ax.set_ylim(image.shape[0] - 0.5, -0.5)
    ax.set_xticks([])
    ax.set_yticks([])
    ax.grid(False)
    for spine in ax.spines.values():
        spine.set_visible(False)


def outline(ax: Axes, mask: NDArray[np.bool_]) -> None:
    """Draws along the edges of a mask's pixels, (H, W)."""
    padded = np.pad(mask, 1)
    rows, columns = np.nonzero(padded[1:] != padded[:-1])
    lines = [([c - 1.5, c - 0.5], [r - 0.5, r - 0.5]) for r, c in zip(rows, columns, strict=True)]
    rows, columns = np.nonzero(padded[:, 1:] != padded[:, :-1])
    lines += [([c - 0.5, c - 0.5], [r - 1.5, r - 0.5]) for r, c in zip(rows, columns, strict=True)]
    for x, y in lines:
        ax.plot(x, y, color=OUTLINE, linewidth=1.0, solid_capstyle="projecting")


def mark(ax: Axes, viewpoint: Viewpoint, point: Point | None, marker: str, colour: str) -> None:
    """Marks where a point of the world is in the image, unless it is out of the frame."""
    if point is None:
        return
    x, y = viewpoint.project(point)
    if -0.5 <= x < viewpoint.width - 0.5 and -0.5 <= y < viewpoint.height - 0.5:
        ax.plot(
            x,
            y,
            marker,
            color=colour,
            markersize=9,
            markeredgewidth=1.8,
            path_effects=EDGE,
            clip_on=False,
        )


LEGEND: Mapping[str, Line2D] = {
    "objects of the task": Line2D([], [], color=OUTLINE, linewidth=1.5),
    "gripper": Line2D(
        [], [], color=GRIPPER, marker="+", linestyle="", markersize=8, markeredgewidth=1.8
    ),
    "where it closes or opens next": Line2D(
        [], [], color=ANCHOR, marker="x", linestyle="", markersize=8, markeredgewidth=1.8
    ),
}
"""What the marks mean."""


def heading(what: str, policy: str, item: WorkItem, record: EpisodeRecord) -> list[str]:
    """The title of a figure: what it shows, of whom, what came of it, on which item."""
    outcome = "success" if record.success else record.reason.replace("_", " ")
    return [
        f"{what}: {policy}, {record.suite}, {outcome} after {record.steps} steps",
        record.place,
        f"“{item.instruction}”",
    ]


def panels(rows: int, columns: int, title: Sequence[str]) -> tuple[Figure, Axeses]:
    """A figure of images in rows and columns, with room for its title, a colour bar and a legend.

    Args:
        rows: Images below each other.
        columns: Images beside each other.
        title: Parts of it, one line each or more, as the width asks for.
    """
    width = max(PANEL_IN * columns + 0.9, LEAST_IN)
    lines = [line for part in title for line in wrap(part, int(width / LETTER_IN))]
    height = PANEL_IN * rows + 0.8 + LINE_IN * len(lines)
    figure = Figure(figsize=(width, height), layout="constrained")
    figure.suptitle("\n".join(lines), fontsize=9)
    return figure, figure.subplots(rows, columns, squeeze=False)
