import numpy as np
import pytest

from vla_bench.reports.statistics.intervals import wilson
from vla_bench.reports.statistics.resampling import Resampling, discordant


def drawn(rate, shape, seed=0):
    return np.random.default_rng(seed).random(shape) < rate


def test_one_training_gives_the_spread_of_a_binomial():
    outcomes = drawn(0.5, (1, 200))
    rates = Resampling(3, 200).rates(outcomes)
    rate = outcomes.mean()
    assert rates.mean() == pytest.approx(rate, abs=0.003)
    assert rates.std() == pytest.approx(np.sqrt(rate * (1 - rate) / 200), rel=0.05)


def test_trainings_that_differ_widen_the_interval_and_equal_ones_do_not_narrow_it():
    same = np.repeat(drawn(0.5, (1, 200)), 3, axis=0)
    resampling = Resampling(3, 200)
    low, high = resampling.interval(same)
    single = resampling.interval(same[:1])
    assert (low, high) == pytest.approx(single, abs=0.02)
    pooled = wilson(int(same.sum()), same.size)
    assert high - low > 1.5 * (pooled[1] - pooled[0])
    differing = np.stack([drawn(rate, 200, 1) for rate in (0.2, 0.5, 0.8)])
    wide = resampling.interval(differing)
    assert wide[1] - wide[0] > 1.5 * (high - low)


@pytest.mark.parametrize("rate", [0.0, 1.0])
def test_nothing_but_failures_still_has_an_interval(rate):
    outcomes = np.full((3, 50), bool(rate))
    assert Resampling(3, 50).interval(outcomes) == wilson(int(outcomes.sum()), 150)


def test_intervals_cover_a_rate_over_trainings_and_items():
    generator = np.random.default_rng(1)
    covered = []
    for _ in range(150):
        items, trainings = generator.normal(0, 1, 60), generator.normal(0, 0.5, (5, 1))
        outcomes = items + trainings + generator.normal(0, 1, (5, 60)) > 0
        low, high = Resampling(5, 60, draws=400).interval(outcomes)
        covered.append(low <= 0.5 <= high)
    assert np.mean(covered) > 0.88


def test_contrasts_are_paired():
    first = drawn(0.4, (3, 100))
    second = first.copy()
    second[:, :10] = ~second[:, :10]
    resampling = Resampling(3, 100)
    value, interval = resampling.contrast([(1, first), (-1, first)])
    assert (value, *interval) == pytest.approx((0, -1.96 / 102, 1.96 / 102))
    value, (low, high) = resampling.contrast([(1, second), (-1, first)])
    assert value == pytest.approx(second.mean() - first.mean())
    unpaired = np.sqrt(2 * 0.24 / 300) * 2 * 1.96
    assert low <= value <= high
    assert high - low < unpaired


def test_discordant_pairs_are_counted_by_hand():
    first = np.array([[True, True, False, False], [True, False, False, False]])
    second = np.array([[True, False, True, False]])
    assert discordant(first, second) == (1, 2)


def test_means_of_numbers_leave_out_those_that_are_missing():
    generator = np.random.default_rng(2)
    steps = generator.normal(40, 5, (3, 80))
    steps[generator.random((3, 80)) < 0.3] = np.nan
    resampling = Resampling(3, 80)
    value, (low, high) = resampling.contrast_of_means([(1, steps)])
    assert value == pytest.approx(np.nanmean(steps))
    assert low < value < high < low + 4
    shifted = resampling.contrast_of_means([(1, steps + 7), (-1, steps)])
    np.testing.assert_allclose([shifted[0], *shifted[1]], 7)
    unpaired = resampling.contrast_of_means([(1, generator.permuted(steps, axis=1)), (-1, steps)])
    assert unpaired[1][0] < 0 < unpaired[1][1]


def test_where_there_are_no_numbers_nothing_is_known():
    none = np.full((2, 9), np.nan)
    value, interval = Resampling(2, 9).contrast_of_means([(1, none), (-1, np.ones((2, 9)))])
    assert np.isnan([value, *interval]).all()
    one = np.full((2, 9), np.nan)
    one[0, 0] = 12.0
    assert Resampling(2, 9).contrast_of_means([(1, one)]) == (12.0, (12.0, 12.0))
