"""Intervals for success rates."""

from __future__ import annotations

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
