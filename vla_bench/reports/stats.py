"""Intervals for success rates."""

from __future__ import annotations

from collections.abc import Sequence
from math import hypot, sqrt

from scipy.stats import binomtest


def wilson(successes: int, total: int, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson score interval for a proportion (Wilson 1927).

    Args:
        successes: Number of successes k, 0 <= k <= total.
        total: Number of episodes n, at least 1.
        confidence: Coverage aimed at.

    Returns:
        Lower and upper bound, in [0, 1].
    """
    interval = binomtest(successes, total).proportion_ci(confidence, method="wilson")
    return float(interval.low), float(interval.high)


def mean_interval(
    rates: Sequence[float], intervals: Sequence[tuple[float, float]]
) -> tuple[float, float]:
    """Interval of the mean of independent rates, each task counting the same.

    The distances from the rates to their own bounds are added in squares (MOVER: Zou and Donner 2008,
    Statistics in Medicine 27).

    Args:
        rates: Success rate of each task, in [0, 1]; at least one.
        intervals: Lower and upper bound of each.

    Returns:
        Lower and upper bound of the mean, of the intervals' own confidence.
    """
    count = len(rates)
    mean = sum(rates) / count
    below = hypot(*(rate - low for rate, (low, _) in zip(rates, intervals, strict=True)))
    above = hypot(*(high - rate for rate, (_, high) in zip(rates, intervals, strict=True)))
    return mean - below / count, mean + above / count


def paired_interval(
    both: int, gained: int, lost: int, neither: int
) -> tuple[float, tuple[float, float]]:
    """Difference of two success rates on the same items and its 95 % interval.

    Newcombe's square-and-add from Wilson's intervals of the two rates, with their correlation (1998,
    method 10, Statistics in Medicine 17).

    Args:
        both: Items that both arms succeed on.
        gained: Items that only the second succeeds on.
        lost: Items that only the first succeeds on.
        neither: Items that neither succeeds on; at least one item in all.

    Returns:
        The second rate less the first, in [-1, 1], with lower and upper bound.
    """
    total = both + gained + lost + neither
    first, second = (both + lost) / total, (both + gained) / total
    low1, high1 = wilson(both + lost, total)
    low2, high2 = wilson(both + gained, total)
    phi = _correlation(both, gained, lost, neither)
    below = _apart(second - low2, high1 - first, phi)
    above = _apart(high2 - second, first - low1, phi)
    difference = second - first
    return difference, (difference - below, difference + above)


def _correlation(both: int, gained: int, lost: int, neither: int) -> float:
    """Phi of a 2 x 2 table, corrected for continuity where it is positive; 0 with an empty margin."""
    margins = (both + gained) * (lost + neither) * (both + lost) * (gained + neither)
    product = float(both * neither - gained * lost)
    if product > 0:
        product = max(product - (both + gained + lost + neither) / 2, 0.0)
    return product / sqrt(margins) if margins else 0.0


def _apart(one: float, other: float, correlation: float) -> float:
    """Length of the difference of two correlated distances."""
    return sqrt(max(one**2 - 2 * correlation * one * other + other**2, 0.0))
