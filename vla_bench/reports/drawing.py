"""What all figures have in common: told apart in grey print too, the same bytes each time."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from vla_bench.reports.statistics.resampling import Interval

UNDATED: Mapping[str, dict[str, None]] = {
    "svg": {"Date": None},
    "pdf": {"CreationDate": None},
    "png": {},
}
"""Metadata that would differ from one writing to the next."""
WIDTH_IN, HEIGHT_IN = 3.5, 2.7
"""Size of one panel: a column of a paper."""
LETTER_IN, HANDLE = 0.065, 9
"""Width of a letter, nearly; letters that a legend's line and its margins take."""
COLOURS = ("#14213d", "#9d2235", "#2a9d8f", "#e0a526", "#b9d6f2")
"""From dark to light, so that they stay apart without colour."""
MARKERS = ("o", "s", "^", "D", "v")
KEPT = ("anchorvla", "l1", "diffusion", "diffusion-x0")
"""Policies that have their colour and marker in every figure; others take those that are left."""
DASHES = ("-", (0, (4, 2)), (0, (1, 1.5)))
"""Second and third arms of one policy are dashed and dotted, with hollow markers."""
STYLE: dict[Any, object] = {
    "font.size": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e3e3e3",
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "legend.handlelength": 3.2,
    "svg.hashsalt": "vla-bench",
    "svg.fonttype": "none",
    "pdf.fonttype": 42,
}


@dataclass(frozen=True)
class Look:
    """How an arm is drawn."""

    colour: str
    marker: str
    dash: str | tuple[int, tuple[float, ...]]
    hollow: bool


def looks(policies: Mapping[str, str]) -> Mapping[str, Look]:
    """A colour and marker per policy; curves of one policy differ in dashes.

    Args:
        policies: Label of each curve -> its policy.
    """
    names = list(dict.fromkeys(policies.values()))
    kept = [KEPT.index(name) for name in names if name in KEPT]
    left = itertools.cycle([kind for kind in range(len(COLOURS)) if kind not in kept] or [0])
    kinds = {name: KEPT.index(name) if name in KEPT else next(left) for name in names}
    before = {name: itertools.count() for name in names}
    found = {}
    for label, policy in policies.items():
        kind, nth = kinds[policy], next(before[policy])
        dash = DASHES[nth % len(DASHES)]
        found[label] = Look(COLOURS[kind], MARKERS[kind], dash, hollow=nth > 0)
    return found


def curve(
    ax: Axes, x: Sequence[float], points: Sequence[tuple[float, Interval]], look: Look, label: str
) -> Line2D:
    """Draws points with their intervals, joined."""
    drawn = ax.errorbar(
        x,
        [value for value, _ in points],
        yerr=[
            [value - low for value, (low, _) in points],
            [high - value for value, (_, high) in points],
        ],
        color=look.colour,
        marker=look.marker,
        linestyle=look.dash,
        markersize=4,
        markerfacecolor="white" if look.hollow else look.colour,
        linewidth=1.2,
        elinewidth=0.8,
        capsize=1.5,
        label=label,
    )
    line: Line2D = drawn.lines[0]
    return line


def legend_columns(labels: Sequence[str], width: float) -> int:
    """How many labels stand beside each other below a figure of a width in inches."""
    letters = max(map(len, labels)) + HANDLE
    return max(1, min(len(labels), int(width / (LETTER_IN * letters))))


def save(figure: Figure, stem: Path) -> Sequence[Path]:
    """Writes a figure as SVG, PDF and PNG.

    Args:
        figure: Drawn under `STYLE`, which must still hold.
        stem: Path without suffix.

    Returns:
        The files, in that order.
    """
    paths = [stem.with_name(f"{stem.name}.{kind}") for kind in UNDATED]
    for path, undated in zip(paths, UNDATED.values(), strict=True):
        figure.savefig(path, dpi=200, metadata=undated)
    return paths
