"""Numbers of a report as cells of its tables."""

from __future__ import annotations

from vla_bench.reports.page.entries import Entry
from vla_bench.reports.success import SuccessRow
from vla_bench.reports.tables.table import Value

Estimate = tuple[float, tuple[float, float]]
"""A number and its 95 % interval."""
LEAST_P = 1e-99
ESTIMAND = "mean over this suite's fixed tasks, each counting the same"


def rate(
    estimate: Estimate | None, count: tuple[int, int] | None = None, best: bool = False
) -> Value:
    """A success rate in [0, 1] in percent, with its interval and k/n."""
    if estimate is None:
        return Value(None)
    value, (low, high) = estimate
    return Value(100 * value, interval=(100 * low, 100 * high), count=count, best=best)


def of_task(row: SuccessRow | None) -> Value:
    """Success rate of a task with Wilson's interval and k/n."""
    if row is None or row.rate is None or row.interval is None:
        return Value(None)
    return rate((row.rate, row.interval), (row.successes, row.episodes))


def of_suite(entry: Entry, best: bool = False) -> Value:
    """The mean over tasks."""
    return rate(entry.mean, best=best)


def points(estimate: Estimate) -> Value:
    """A difference of rates in percentage points, with its sign."""
    value, (low, high) = estimate
    return Value(100 * value, interval=(100 * low, 100 * high), signed=True)


def count(number: int) -> Value:
    """A whole number."""
    return Value(number, digits=0)


def share(part: float, whole: float) -> Value:
    """A part of a whole in percent; nothing of nothing."""
    return Value(100 * part / whole if whole else None)


def p_value(p: float) -> str:
    """A p-value to two digits."""
    return f"{p:.2g}" if p >= LEAST_P else f"<{LEAST_P:g}"
