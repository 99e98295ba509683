"""The picture of where a policy looks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from vla_bench.inspecting.attention import Maps, on_objects, relative
from vla_bench.inspecting.panels import (
    ANCHOR,
    GRIPPER,
    LEGEND,
    Image,
    heading,
    mark,
    outline,
    panels,
    show_image,
)
from vla_bench.inspecting.playing import Moment, Played
from vla_bench.policies.diagnostics import Floats

COLOURS = "RdBu_r"
COVER = 0.75
"""How much of the image the strongest colours hide; what is looked at evenly stays as it is."""
RANGE = (2.0, 16.0)
"""The colours reach at least as far as the first multiple of even attention, at most as the second."""


def attention_figure(played: Played[Maps], policy: str, cameras: Sequence[str]) -> Figure:
    """A column for each step and camera: the image with what is true of it, below it each map.

    Args:
        played: From `attend`.
        policy: Name of the policy.
        cameras: Cameras that the policy reads, in order.
    """
    names = list(played.moments[0].shown)
    columns = [(moment, camera) for moment in played.moments for camera in cameras]
    title = heading("attention", policy, played.item, played.record)
    figure, axes = panels(1 + len(names), len(columns), title)
    scale = _scale(played)
    for column, (moment, camera) in zip(axes.T, columns, strict=True):
        image, mask = moment.observation.images[camera], moment.look.relevant.get(camera)
        column[0].set_title(f"step {moment.look.step}, {camera}")
        _draw_truth(column[0], played, moment, camera)
        for ax, name in zip(column[1:], names, strict=True):
            cells = relative(moment.shown[name])[cameras.index(camera)]
            _draw_map(ax, image, cells, scale)
            if mask is not None and mask.any():
                outline(ax, mask)
                ax.set_xlabel(
                    f"on the objects: {_times(f'{on_objects(cells, mask):.2g}')}", labelpad=3
                )
    for ax, name in zip(axes[:, 0], ["what the policy sees", *names], strict=True):
        ax.set_ylabel(name)
    _colour_bar(figure, axes[1:].ravel().tolist(), scale)
    figure.legend(LEGEND.values(), LEGEND, loc="outside lower center", ncols=3, frameon=False)
    return figure


def _scale(played: Played[Maps]) -> LogNorm:
    most = max(relative(maps).max() for m in played.moments for maps in m.shown.values())
    limit = float(np.clip(2 ** np.ceil(np.log2(most)), *RANGE))
    return LogNorm(1 / limit, limit, clip=True)


def _colour_bar(figure: Figure, axes: Sequence[Axes], scale: LogNorm) -> None:
    bar = figure.colorbar(
        ScalarMappable(scale, COLOURS), ax=axes, aspect=18, pad=0.01, fraction=0.05
    )
    assert scale.vmax is not None
    steps = round(np.log2(scale.vmax))
    powers = [2**power for power in range(steps, 0, -1)]
    labels = [_times(f"1/{power}") for power in powers] + [_times(1)]
    labels += [_times(power) for power in reversed(powers)]
    bar.set_ticks([1 / power for power in powers] + [1, *reversed(powers)], labels=labels)
    bar.minorticks_off()
    bar.set_label(f"attention ({_times(1)}: spread evenly)")


def _times(ratio: object) -> str:
    return f"\N{MULTIPLICATION SIGN}{ratio}"


def _draw_truth(ax: Axes, played: Played[Maps], moment: Moment[Maps], camera: str) -> None:
    look = moment.look
    show_image(ax, moment.observation.images[camera])
    if camera in look.relevant:
        outline(ax, look.relevant[camera])
    if camera in look.viewpoints:
        mark(ax, look.viewpoints[camera], look.gripper, "+", GRIPPER)
        mark(ax, look.viewpoints[camera], played.anchor(look.step), "x", ANCHOR)


def _draw_map(ax: Axes, image: Image, cells: Floats, scale: LogNorm) -> None:
    grey = np.repeat(image.mean(2, keepdims=True), 3, 2)
    show_image(ax, grey.astype(np.uint8))
    height, width = image.shape[:2]
    places = np.asarray(scale(np.maximum(cells, np.finfo(np.float32).tiny)))
    colours = colormaps[COLOURS](places)
    colours[..., 3] = COVER * np.abs(2 * places - 1) ** 0.7
    extent = (-0.5, width - 0.5, height - 0.5, -0.5)
    ax.imshow(colours, interpolation="nearest", extent=extent)
