"""Two success rates on different items, or on items that nobody can pair any more."""

from __future__ import annotations

from math import hypot

from vla_bench.reports.statistics.intervals import wilson

Interval = tuple[float, float]


def unpaired_interval(
    first_successes: int, first_total: int, second_successes: int, second_total: int
) -> tuple[float, Interval]:
    """Difference of two independent proportions k/n and its 95 % interval.

    Newcombe's hybrid of the two Wilson intervals (1998, method 10, Statistics in Medicine 17, 873-890).

    Args:
        first_successes: k of the first.
        first_total: n of the first, at least 1.
        second_successes: k of the second.
        second_total: n of the second, at least 1.

    Returns:
        The second rate less the first, in [-1, 1], with lower and upper bound.
    """
    return independent_difference(
        first_successes / first_total,
        wilson(first_successes, first_total),
        second_successes / second_total,
        wilson(second_successes, second_total),
    )


def independent_difference(
    first: float, first_interval: Interval, second: float, second_interval: Interval
) -> tuple[float, Interval]:
    """Difference of any two independent estimates, e.g. means over tasks, by their own intervals.

    MOVER (Zou and Donner 2008, Statistics in Medicine 27): with bounds l and u of each, the distances
    are sqrt((second - l2)^2 + (u1 - first)^2) below and sqrt((u2 - second)^2 + (first - l1)^2) above.

    Returns:
        The second less the first, with bounds of the intervals' own confidence.
    """
    (low1, high1), (low2, high2) = first_interval, second_interval
    difference = second - first
    below = hypot(second - low2, high1 - first)
    above = hypot(high2 - second, first - low1)
    return difference, (difference - below, difference + above)
