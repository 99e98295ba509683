"""What a sweep found, in sentences made from its numbers."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping

from vla_bench.reports.statistics.resampling import Interval
from vla_bench.reports.sweeps.results import PointResult, SweepResults
from vla_bench.sweeps.card import Claim, Measure, written


def findings(results: SweepResults) -> Iterator[str]:
    """One sentence per arm: where success is highest, and what it changes by from end to end."""
    for arm in results.sweep.arms:
        points = results.of_arm(arm)
        if len(points) > 1:
            yield f"{arm.label}: {_course(results, points)}"


def _course(results: SweepResults, points: list[PointResult]) -> str:
    best = max(points, key=lambda point: point.rate)
    first, last = points[0], points[-1]
    change, interval = results.change(first, last)
    ties = [p for p in points if p.rate == best.rate]
    at = ", ".join(_value(point) for point in ties)
    return (
        f"most success at {at} ({100 * best.rate:.1f} % {_percent(results.interval(best))}); from "
        f"{_value(first)} to {_value(last)} it changes by {_points(change, interval)}"
    )


def verdicts(results: SweepResults) -> Iterator[str]:
    """One sentence per claim: seen, not seen or undecided, by its declared sum of success rates."""
    for claim in results.sweep.claims:
        verdict = results.verdict(claim)
        amount = AMOUNTS[claim.measure](verdict.value, verdict.interval)
        yield f"{verdict.word.upper()}: {claim.text} ({_sum(claim)} is {amount})"


def _sum(claim: Claim) -> str:
    terms = " + ".join(claim.plus) + "".join(f" - {name}" for name in claim.minus)
    if not claim.margin:
        return terms
    margin = claim.margin if claim.measure == "steps_to_success" else 100 * claim.margin
    return f"seen where it is above -{margin:g}: {terms}"


def _steps(value: float, interval: Interval) -> str:
    if math.isnan(value):
        return "unknown: a point has no success"
    return f"{value:+.1f} steps to success [{interval[0]:+.1f}, {interval[1]:+.1f}]"


def _attention(value: float, interval: Interval) -> str:
    return _points(value, interval) + " of attention"


def _points(value: float, interval: Interval) -> str:
    return f"{100 * value:+.1f} points {_percent(interval, '+')}"


def _percent(interval: Interval, sign: str = "") -> str:
    low, high = (f"{100 * bound:{sign}.1f}" for bound in interval)
    return f"[{low}, {high}]"


def _value(point: PointResult) -> str:
    return "-" if point.value is None else written(point.value)


AMOUNTS: Mapping[Measure, Callable[[float, Interval], str]] = {
    "success": _points,
    "steps_to_success": _steps,
    "attention": _attention,
}
"""A claim's sum in words."""
