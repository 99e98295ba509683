"""Intervals for success rates."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from math import hypot

from scipy.stats import binomtest


@cache
def wilson(successes: int, total: int, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson score interval for a proportion (Wilson 1927).

    Its coverage is near what it aims at on the average over proportions, not at every one: with 18
    episodes and a rate of 3 %, 89.4 % of 95 % intervals hold it (`benchmarks/statistics.py`).

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
    """Interval of the mean over fixed tasks of independent rates, each task counting the same.

    Of differences of rates as well as of rates. The distances from the rates to their own bounds are
    added in squares (MOVER: Zou and Donner 2008, Statistics in Medicine 27).

    Args:
        rates: Success rate of each task, or difference of two; at least one.
        intervals: Lower and upper bound of each.

    Returns:
        Lower and upper bound of the mean, of the intervals' own confidence.
    """
    count = len(rates)
    mean = sum(rates) / count
    below = hypot(*(rate - low for rate, (low, _) in zip(rates, intervals, strict=True)))
    above = hypot(*(high - rate for rate, (_, high) in zip(rates, intervals, strict=True)))
    return mean - below / count, mean + above / count
