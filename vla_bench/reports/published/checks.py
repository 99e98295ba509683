"""Can the printed numbers be what they say? Means are recomputed, rates held against their episodes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

from vla_bench.reports.published.numbers import AVERAGE, Quoted


@dataclass(frozen=True)
class Misfit:
    """An average that is further from the mean of its parts than rounding explains."""

    figure: Quoted
    """The average as printed."""
    parts: Sequence[Quoted]
    """The figures that it should be the mean of."""
    tolerance: Fraction
    """How far rounding could take the two apart."""

    @property
    def mean(self) -> Fraction:
        """The mean of the parts as printed."""
        return _mean_of(self.parts)

    def __str__(self) -> str:
        what = "suites" if self.parts[0].task == AVERAGE else "tasks"
        mean = f"{float(self.mean):.{self.figure.digits + 1}f}"
        return f"the paper prints {self.figure.value}; the mean of its {len(self.parts)} {what} is {mean}"


@dataclass(frozen=True)
class Unattainable:
    """A success rate that no number of successes in its episodes gives."""

    figure: Quoted

    def __str__(self) -> str:
        return f"no number of successes in {self.figure.episodes} episodes gives this rate"


def misfits(figures: Sequence[Quoted]) -> Sequence[Misfit]:
    """Averages that are not the mean of their parts, of those whose parts are all there.

    Each printed figure may be off by half a unit of its last digit, the average and every part.
    """
    found = []
    for figure in figures:
        parts = parts_of(figure, figures)
        if figure.mean_of is None or len(parts) != figure.mean_of:
            continue
        tolerance = _half_unit(figure) + _mean([_half_unit(part) for part in parts])
        if abs(Fraction(figure.value) - _mean_of(parts)) > tolerance:
            found.append(Misfit(figure, parts, tolerance))
    return found


def parts_of(figure: Quoted, figures: Sequence[Quoted]) -> Sequence[Quoted]:
    """What an average is the mean of, as far as its table lists it.

    The tasks of its suite, else the averages of the suites that have its name and a dash before theirs
    (`libero`: `libero-goal`, ...).
    """
    if figure.task != AVERAGE:
        return []
    beside = [other for other in figures if _alike(other, figure)]
    tasks = [o for o in beside if o.suite == figure.suite and o.task != AVERAGE]
    suites = [o for o in beside if o.suite.startswith(f"{figure.suite}-") and o.task == AVERAGE]
    return tasks or suites


def unattainable(figures: Sequence[Quoted]) -> Sequence[Unattainable]:
    """Success rates that are no multiple of 1/n within half a unit of the last digit printed.

    A mean over trials, or tasks, of n/t episodes each is a multiple of 1/n too.
    """
    return [Unattainable(figure) for figure in figures if not _attainable(figure)]


def remarks(figures: Sequence[Quoted]) -> Iterator[tuple[Quoted, str]]:
    """All that is found, as footnotes to the figures."""
    yield from ((found.figure, str(found)) for found in misfits(figures))
    yield from ((found.figure, str(found)) for found in unattainable(figures))


def _alike(one: Quoted, other: Quoted) -> bool:
    fields = ("paper", "table", "method", "setting", "metric", "unit")
    return all(getattr(one, field) == getattr(other, field) for field in fields)


def _attainable(figure: Quoted) -> bool:
    if figure.metric != "success-rate" or figure.episodes is None:
        return True
    successes = Fraction(figure.value) * figure.episodes / 100
    nearest = Fraction(round(successes), figure.episodes) * 100
    return abs(nearest - Fraction(figure.value)) <= _half_unit(figure)


def _half_unit(figure: Quoted) -> Fraction:
    return Fraction(1, 2 * 10**figure.digits)


def _mean_of(parts: Sequence[Quoted]) -> Fraction:
    return _mean([Fraction(part.value) for part in parts])


def _mean(numbers: Sequence[Fraction]) -> Fraction:
    return sum(numbers, Fraction(0)) / len(numbers)
