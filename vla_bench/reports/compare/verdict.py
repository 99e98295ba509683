"""What follows from the outcomes of two runs on the same items, in one sentence."""

from __future__ import annotations

from collections.abc import Sequence

from vla_bench.reports.paired import PairedRow, sum_of
from vla_bench.reports.statistics.pairs import mcnemar, mean_difference

LEVEL = 0.05
"""Largest p-value at which one run is said to be better."""


def verdict(rows: Sequence[PairedRow], names: tuple[str, str]) -> str:
    """Says which run is better, by how much, and how sure that is.

    Difference, 95 % interval (Newcombe's) and test (McNemar's) are over all items; where tasks have
    unequal numbers of items, so that their mean is another number, that is said too.

    Args:
        rows: The outcomes of each task, at least one item each.
        names: Of the first and the second run.
    """
    pairs = sum_of(rows).pairs
    p = mcnemar(pairs)
    mean, interval = mean_difference([row.pairs for row in rows])
    uneven = len({row.pairs.total for row in rows}) > 1
    said = f"{_probability(p)}: McNemar exact, {_discordant(pairs.only_second, pairs.only_first)}"
    said += f" discordant of {pairs.total} items"
    if uneven:
        said += f"; mean over {len(rows)} tasks {_points(mean, interval, signed=True)}"
    gained = pairs.only_second - pairs.only_first
    if p > LEVEL or (uneven and mean * gained <= 0):
        doubt = "No difference is shown" if p > LEVEL else "Items and tasks do not agree"
        shown = _points(*pairs.difference, signed=True)
        return f"{doubt}: {names[1]} less {names[0]} is {shown}, {said}."
    better, worse, ahead = (*names[::-1], pairs) if gained > 0 else (*names, pairs.swapped)
    return f"{better} is better than {worse} by {_points(*ahead.difference)}, {said}."


def _discordant(gained: int, lost: int) -> str:
    return f"{max(gained, lost)} against {min(gained, lost)}"


def _probability(p: float) -> str:
    return "p < 0.001" if p < 0.001 else f"p = {p:.2g}"


def _points(value: float, interval: tuple[float, float], *, signed: bool = False) -> str:
    sign = "+" if signed else ""
    # Adding 0.0 turns -0.0 into 0.0.
    shown, low, high = (f"{round(100 * x, 1) + 0.0:{sign}.1f}" for x in (value, *interval))
    return f"{shown} points [{low}, {high}]"
