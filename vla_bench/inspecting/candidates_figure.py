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

from vla_bench.inspecting.candidates import Fan, Paths
from vla_bench.inspecting.panels import EDGE, heading, outline, panels, show_image
from vla_bench.inspecting.playing import Played
from vla_bench.policies.diagnostics import CandidateChunks

COLOURS = "viridis"
CHOSEN = "#ff2bd6"
LOWEST = 25
"""Scores below this percentile share a colour: what is out of the question may be so by far."""
SMALL = 0.2
"""Paths that span less of an image than this are shown enlarged, too."""
INSET, MARGIN = 0.42, 0.2
"""Size of the enlargement in that of the image, and what it shows around the paths in their span."""


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
    low, high = np.percentile(scores, (LOWEST, 100)).tolist()
    scale = Normalize(low, high, clip=True)
    for column, fan in zip(axes.T, fans, strict=True):
        look = fan.moment.look
        column[0].set_title(f"step {look.step}, ends ±{100 * fan.spread:.1f} cm")
        for ax, camera in zip(column, cameras, strict=True):
            pixels = look.viewpoints[camera].project(fan.paths)
            _draw(ax, fan, camera, pixels, scale)
            _enlarge(ax, fan, camera, pixels, scale)
    for ax, camera in zip(axes[:, 0], cameras, strict=True):
        ax.set_ylabel(camera)
    figure.colorbar(
        ScalarMappable(scale, COLOURS),
        ax=axes.ravel().tolist(),
        label="score",
        aspect=25,
        pad=0.02,
        extend="min",
    )
    figure.legend(handles=_legend(fans), loc="outside lower center", ncols=3, frameon=False)
    return figure


def _draw(ax: Axes, fan: Fan, camera: str, pixels: Paths, scale: Normalize) -> None:
    """An image and over it the paths, `pixels` (M, P+1, 2)."""
    shown, look = fan.moment.shown, fan.moment.look
    show_image(ax, fan.moment.observation.images[camera])
    if camera in look.relevant:
        outline(ax, look.relevant[camera])
    for number in np.argsort(shown.scores):
        colour = colormaps[COLOURS](scale(shown.scores[number]))
        ax.plot(*pixels[number].T, color=colour, linewidth=1.0)
        ax.plot(*pixels[number, -1], ".", color=colour, markersize=4)
    ax.plot(*pixels[shown.chosen].T, color=CHOSEN, linewidth=2.2, path_effects=EDGE)
    ax.plot(*pixels[shown.chosen, 0], "o", color="white", markersize=4, path_effects=EDGE)


def _enlarge(ax: Axes, fan: Fan, camera: str, pixels: Paths, scale: Normalize) -> None:
    """Draws paths that are small in the image once more, in the corner that is farthest from them."""
    size = np.array(fan.moment.observation.images[camera].shape[1::-1])
    if not ((pixels >= 0) & (pixels < size)).all():
        return
    low, high = pixels.min((0, 1)), pixels.max((0, 1))
    middle, span = (low + high) / 2, float((high - low).max())
    if span > SMALL * size.min():
        return
    half = (0.5 + MARGIN) * max(span, 0.05 * float(size.min()))
    left, top = np.where(middle < size / 2, 1 - INSET, 0.0)
    inset = ax.inset_axes((left, 1 - INSET - top, INSET, INSET))
    _draw(inset, fan, camera, pixels, scale)
    inset.set_xlim(middle[0] - half, middle[0] + half)
    inset.set_ylim(middle[1] + half, middle[1] - half)
    for spine in inset.spines.values():
        spine.set(visible=True, color="white", linewidth=1.2)
    ax.indicate_inset_zoom(inset, edgecolor="white", alpha=1)


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
