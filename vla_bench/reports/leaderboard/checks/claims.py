"""Whether the numbers that a submission claims follow from its records."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from decimal import Decimal, InvalidOperation
from fractions import Fraction

from vla_bench.items import CLEAN
from vla_bench.reports.leaderboard.checks.submission import Submission

FILE = "claims.csv"
COLUMNS = ("task", "successes", "episodes", "rate")
"""The rate in percent, with the digits that are claimed."""
MEAN = "mean"
"""Name of the row that has the mean over tasks of their success rates."""


def problems(run: Submission) -> Iterator[str]:
    """Counts against the records, rates against the counts, the mean against the rates; one line each."""
    path = run.path / FILE
    if not path.is_file():
        return
    counts = _counts(run)
    with path.open(newline="", encoding="utf-8", errors="replace") as file:
        rows = csv.DictReader(file)
        if tuple(rows.fieldnames or ()) != COLUMNS:
            yield f"{FILE}, line 1: expected {','.join(COLUMNS)}, found {','.join(rows.fieldnames or ())}"
            return
        for row in rows:
            where = f"{FILE}, line {rows.line_num}"
            yield from (f"{where}: {line}" for line in _row(row, counts))


def _counts(run: Submission) -> Mapping[str, tuple[int, int]]:
    """Task -> successes and episodes, clean ones only."""
    counts: dict[str, tuple[int, int]] = {}
    for record in run.final.values():
        if record.perturbation == CLEAN:
            successes, episodes = counts.get(record.task, (0, 0))
            counts[record.task] = (successes + record.success, episodes + 1)
    return counts


def _row(row: Mapping[str, str], counts: Mapping[str, tuple[int, int]]) -> Iterator[str]:
    task = row["task"]
    if task == MEAN:
        successes = sum(k for k, _ in counts.values())
        episodes = sum(n for _, n in counts.values())
        rates = [Fraction(k, n) for k, n in counts.values()]
        rate = sum(rates, Fraction(0)) / max(1, len(rates))
    elif task in counts:
        successes, episodes = counts[task]
        rate = Fraction(successes, episodes)
    else:
        yield f"task: expected a task with records or {MEAN}, found {task!r}"
        return
    for name, expected in (("successes", successes), ("episodes", episodes)):
        if row[name] not in ("", str(expected)) or (not row[name] and task != MEAN):
            yield f"{name} of {task}: expected {expected} by the records, found {row[name]!r}"
    yield from _rate(task, row["rate"], rate, episodes)


def _rate(task: str, text: str, rate: Fraction, episodes: int) -> Iterator[str]:
    try:
        claimed = Decimal(text)
        exponent = claimed.as_tuple().exponent
        assert isinstance(exponent, int)
    except (InvalidOperation, AssertionError, TypeError):
        yield f"rate of {task}: expected a percentage, found {text!r}"
        return
    value, half = Fraction(claimed), Fraction(10) ** exponent / 2  # half a unit of the last digit
    nearest = Fraction(round(value * episodes / 100) * 100, episodes)
    if task != MEAN and abs(nearest - value) > half:
        yield f"rate of {task}: {text} % is no multiple of 1/{episodes}"
    if abs(value - 100 * rate) > half:
        digits = max(0, -exponent)
        yield f"rate of {task}: expected {float(100 * rate):.{digits}f} % by the records, found {text} %"
