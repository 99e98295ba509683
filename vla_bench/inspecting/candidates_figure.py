"""The picture of what a policy chose from."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from vla_bench.inspecting.candidates import Fan
from vla_bench.inspecting.panels import EDGE, heading, outline, panels, show_image
from vla_bench.inspecting.playing import Played
from vla_bench.policies.diagnostics import CandidateChunks
from vla_bench.suites.viewpoint import Viewpoint

COLOURS = "viridis"
CHOSEN = "#ff2bd6"


def candidates_figure(
    played: Played[CandidateChunks], fans: Sequence[Fan], policy: str, cameras: Sequence[str]
) -> Figure:
    """A column for each step, a row for each camera: all paths, the chosen one on top.

    Args:
        played: From `fan_out`.
        fans: Likewise.
        policy: Name of the policy.
        cameras: Cameras that the policy reads, in order; at least one.
    """
    title = heading("candidates", policy, played.item, played.record)
    figure, axes = panels(len(cameras), len(fans), title)
    scores = np.concatenate([fan.moment.shown.scores for fan in fans])
    scale = Normalize(float(scores.min()), float(scores.max()))
    for column, fan in zip(axes.T, fans, strict=True):
        look = fan.moment.look
        column[0].set_title(f"step {look.step}: ends {100 * fan.spread:.1f} cm apart")
        for ax, camera in zip(column, cameras, strict=True):
            show_image(ax, fan.moment.observation.images[camera])
            if camera in look.relevant:
                outline(ax, look.relevant[camera])
            _draw(ax, fan, look.viewpoints[camera], scale)
    for ax, camera in zip(axes[:, 0], cameras, strict=True):
        ax.set_ylabel(camera)
    figure.colorbar(
        ScalarMappable(scale, COLOURS), ax=axes.ravel().tolist(), label="score", aspect=25, pad=0.02
    )
    figure.legend(handles=_legend(fans), loc="outside lower center", ncols=3, frameon=False)
    return figure


def _draw(ax: Axes, fan: Fan, viewpoint: Viewpoint, scale: Normalize) -> None:
    shown = fan.moment.shown
    pixels = viewpoint.project(fan.paths)
    for number in np.argsort(shown.scores):
        colour = colormaps[COLOURS](scale(shown.scores[number]))
        ax.plot(*pixels[number].T, color=colour, linewidth=1.0)
        ax.plot(*pixels[number, -1], ".", color=colour, markersize=4)
    ax.plot(*pixels[shown.chosen].T, color=CHOSEN, linewidth=2.2, path_effects=EDGE)
    ax.plot(*pixels[shown.chosen, 0], "o", color="white", markersize=4, path_effects=EDGE)


def _legend(fans: Sequence[Fan]) -> list[Line2D]:
    count, length = fans[0].moment.shown.chunks.shape[:2]
    colour = colormaps[COLOURS](0.5)
    return [
        Line2D([], [], color=CHOSEN, linewidth=2.2, label=f"chosen, all {length} actions"),
        Line2D([], [], color=colour, marker=".", label=f"the {count - 1} others"),
        Line2D(
            [],
            [],
            color="white",
            marker="o",
            markeredgecolor="black",
            linestyle="",
            label="gripper now",
        ),
    ]
