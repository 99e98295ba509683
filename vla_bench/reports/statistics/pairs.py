"""Two success rates on the same items."""

from __future__ import annotations

from math import sqrt

from vla_bench.reports.statistics.intervals import wilson


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
