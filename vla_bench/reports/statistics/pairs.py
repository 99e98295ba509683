"""Two success rates on the same items."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass
from math import sqrt
from operator import add
from typing import Self

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import binomtest

from vla_bench.reports.statistics.intervals import mean_interval, wilson


@dataclass(frozen=True)
class Pairs:
    """Items that two policies have played, by who succeeded."""

    both: int
    only_first: int
    only_second: int
    neither: int

    @classmethod
    def of(cls, first: ArrayLike, second: ArrayLike) -> Self:
        """Counts success of two policies on the same items, bool (items,) each."""
        one, other = np.asarray(first, np.bool_), np.asarray(second, np.bool_)
        return cls(
            both=int((one & other).sum()),
            only_first=int((one & ~other).sum()),
            only_second=int((~one & other).sum()),
            neither=int((~one & ~other).sum()),
        )

    def __add__(self, other: Pairs) -> Pairs:
        return Pairs(*map(add, astuple(self), astuple(other)))

    @property
    def total(self) -> int:
        """All items."""
        return self.both + self.discordant + self.neither

    @property
    def discordant(self) -> int:
        """Items on which just one of the two succeeds."""
        return self.only_first + self.only_second

    @property
    def swapped(self) -> Pairs:
        """The same items, second policy first."""
        return Pairs(self.both, self.only_second, self.only_first, self.neither)

    @property
    def difference(self) -> tuple[float, tuple[float, float]]:
        """The second rate less the first, and its 95 % interval; see `paired_interval`."""
        return paired_interval(self.both, self.only_second, self.only_first, self.neither)


def mcnemar(pairs: Pairs) -> float:
    """Two-sided p-value of McNemar's exact test that two policies succeed equally often.

    Under that hypothesis either policy is as likely to be the one that succeeds on a discordant item:
    a binomial test with 1/2 (McNemar 1947, Psychometrika 12). 1 without a discordant item.
    """
    if not pairs.discordant:
        return 1.0
    return float(binomtest(pairs.only_first, pairs.discordant).pvalue)


def mean_difference(tasks: Sequence[Pairs]) -> tuple[float, tuple[float, float]]:
    """Mean over fixed tasks of the difference of two success rates, each task counting the same.

    MOVER over the tasks' paired intervals (`mean_interval`, `paired_interval`).

    Args:
        tasks: The pairs of each task, at least one item each.

    Returns:
        The mean of the second rates less that of the first, in [-1, 1], with the bounds of its 95 %
        interval.
    """
    values, intervals = zip(*(pairs.difference for pairs in tasks), strict=True)
    return sum(values) / len(tasks), mean_interval(values, intervals)


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
