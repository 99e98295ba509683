"""Intervals for success rates that several trainings reached on the same items."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from vla_bench.reports.statistics.intervals import wilson

DRAWS = 4000
Z = 1.96
Interval = tuple[float, float]
Outcomes = NDArray[np.bool_]
"""Success of each training (row) on each item (column)."""
Values = NDArray[np.float64]
"""A number for each training (row) and item (column); not a number where there is none."""


class Resampling:
    """Draws of trainings and of items, the same for all points: differences are paired.

    Trainings and items are drawn with replacement independently of each other (the pigeonhole
    bootstrap: Owen 2007, "The pigeonhole bootstrap", Annals of Applied Statistics 1).

    Args:
        trainings: Training seeds.
        items: Items.
        draws: Resamples.
    """

    def __init__(self, trainings: int, items: int, draws: int = DRAWS) -> None:
        generator = np.random.default_rng(0)
        self._trainings = _weights(generator, trainings, draws)
        self._items = _weights(generator, items, draws)

    def rates(self, outcomes: Outcomes | Values) -> NDArray[np.float64]:
        """Success rate of each resample, float64 (draws,).

        Args:
            outcomes: (trainings, items), or (1, items) for weights that were not trained here.
        """
        trainings = self._trainings if len(outcomes) > 1 else np.ones((len(self._items), 1))
        rates: NDArray[np.float64] = ((trainings @ outcomes) * self._items).sum(1)
        return rates

    def interval(self, outcomes: Outcomes) -> Interval:
        """95 % interval of a rate: the bootstrap's, and no narrower than Wilson's over all episodes."""
        low, high = _percentiles(self.rates(outcomes))
        least, most = wilson(int(outcomes.sum()), outcomes.size)
        return max(0.0, min(low, least)), min(1.0, max(high, most))

    def contrast(self, terms: Sequence[tuple[int, Outcomes]]) -> tuple[float, Interval]:
        """A signed sum of rates and its 95 % bootstrap interval.

        Where all outcomes agree the bootstrap knows no doubt; the interval is then what two added items
        give, one for either side (Agresti and Min 2005, Statistics in Medicine 24).

        Args:
            terms: Sign and outcomes of each rate.
        """
        value = sum(sign * float(outcomes.mean()) for sign, outcomes in terms)
        drawn = np.sum([sign * self.rates(outcomes) for sign, outcomes in terms], axis=0)
        low, high = _percentiles(drawn)
        least = Z / (self._items.shape[1] + 2)
        return value, (min(low, value - least), max(high, value + least))

    def means(self, values: Values) -> NDArray[np.float64]:
        """Mean of the numbers there are in each resample, float64 (draws,); nan where there are none."""
        known = ~np.isnan(values)
        counts = self.rates(known)
        with np.errstate(invalid="ignore"):
            means: NDArray[np.float64] = self.rates(np.where(known, values, 0.0)) / counts
        return means

    def contrast_of_means(self, terms: Sequence[tuple[int, Values]]) -> tuple[float, Interval]:
        """A signed sum of means of numbers and its 95 % bootstrap interval; nan where there are none.

        Args:
            terms: Sign and numbers of each mean.
        """
        if any(np.isnan(values).all() for _, values in terms):
            return np.nan, (np.nan, np.nan)
        value = sum(sign * float(np.nanmean(values)) for sign, values in terms)
        drawn = np.sum([sign * self.means(values) for sign, values in terms], axis=0)
        low, high = np.nanpercentile(drawn, (2.5, 97.5))
        return value, (min(float(low), value), max(float(high), value))


def discordant(first: Outcomes, second: Outcomes) -> tuple[int, int]:
    """Episodes that only the first solves, and that only the second solves; same items, same seeds."""
    first, second = np.broadcast_arrays(first, second)
    return int((first & ~second).sum()), int((second & ~first).sum())


def _weights(generator: np.random.Generator, count: int, draws: int) -> NDArray[np.float64]:
    """How often each of `count` is drawn, as fractions, (draws, count)."""
    drawn = generator.multinomial(count, np.full(count, 1 / count), size=draws)
    weights: NDArray[np.float64] = drawn / count
    return weights


def _percentiles(values: NDArray[np.float64]) -> Interval:
    low, high = np.percentile(values, (2.5, 97.5))
    return float(low), float(high)
