import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.stats.proportion import confint_proportions_2indep, proportion_confint

from benchmarks.error_rates import (
    RATES,
    SIZES,
    mean_coverage,
    mean_difference_coverage,
    paired_coverage,
    tables,
    unpaired_coverage,
    wilson_coverage,
)
from vla_bench.reports.statistics.intervals import mean_interval, wilson
from vla_bench.reports.statistics.pairs import Pairs, mean_difference
from vla_bench.reports.statistics.unpaired import independent_difference, unpaired_interval

COUNTS = st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))
PAIRS = st.builds(Pairs, *[st.integers(0, 40)] * 3, st.integers(1, 40))


@given(COUNTS)
def test_wilson_is_statsmodels(counts):
    assert wilson(*counts) == pytest.approx(proportion_confint(*counts, method="wilson"), abs=1e-9)


@given(COUNTS, COUNTS)
def test_the_unpaired_difference_is_statsmodels(first, second):
    value, interval = unpaired_interval(*first, *second)
    assert value == pytest.approx(second[0] / second[1] - first[0] / first[1])
    theirs = confint_proportions_2indep(*second, *first, method="newcomb", compare="diff")
    assert interval == pytest.approx(theirs, abs=1e-9)


@given(COUNTS, COUNTS)
def test_an_unpaired_difference_turned_round_is_its_mirror_image(first, second):
    value, (low, high) = unpaired_interval(*first, *second)
    mirrored = unpaired_interval(*second, *first)
    assert -1 - 1e-12 <= low <= value <= high <= 1 + 1e-12
    assert (mirrored[0], *mirrored[1]) == pytest.approx((-value, -high, -low))


def test_published_means_are_compared_by_their_own_intervals():
    value, (low, high) = independent_difference(0.5, (0.4, 0.6), 0.8, (0.8, 0.8))
    assert (value, low, high) == pytest.approx((0.3, 0.2, 0.4))


@pytest.mark.parametrize("n", SIZES)
def test_wilson_holds_a_rate_19_times_in_20_on_the_average_and_not_at_each_rate(n):
    coverage = wilson_coverage(n, RATES)
    assert 0.94 <= coverage.mean() <= 0.96
    assert coverage.min() >= {10: 0.913, 20: 0.924, 50: 0.921}.get(n, 0.933)
    assert wilson_coverage(n, np.linspace(0.02, 0.98, 97)).mean() >= 0.949


def test_the_lowest_coverage_of_wilson():
    assert wilson_coverage(18, [0.031])[0] == pytest.approx(0.894, abs=5e-4)


@pytest.mark.parametrize("n", SIZES)
def test_the_interval_of_a_mean_holds_it(n):
    assert mean_coverage(np.linspace(0.05, 0.95, 10), n, 2000) >= 0.94


def test_the_interval_of_an_unpaired_difference_holds_it():
    coverage = unpaired_coverage(20, 50, RATES)
    assert coverage.mean() >= 0.94
    assert coverage.min() >= 0.93


@pytest.mark.parametrize("n", SIZES)
def test_the_interval_of_a_paired_difference_holds_it_on_the_average(n):
    assert np.mean([paired_coverage(cell, n, 200) for cell in tables()[::4]]) >= 0.94


@pytest.mark.parametrize("n", [10, 50])
def test_the_interval_of_a_mean_paired_difference_holds_it(n):
    assert mean_difference_coverage(n, 500) >= 0.93


@given(PAIRS)
def test_the_mean_difference_of_one_task_is_its_own_and_of_equal_ones_narrower(pairs):
    value, (low, high) = mean_difference([pairs])
    assert value == pytest.approx(pairs.difference[0])
    assert (low, high) == pytest.approx(pairs.difference[1])
    mean, (least, most) = mean_difference([pairs] * 4)
    assert mean == pytest.approx(value)
    assert (mean - least, most - mean) == pytest.approx(((value - low) / 2, (high - value) / 2))


def test_tasks_count_the_same_whatever_their_items():
    small, large = Pairs(0, 0, 10, 0), Pairs(0, 0, 0, 1000)
    assert mean_difference([small, large])[0] == pytest.approx(0.5)
    assert mean_interval([0.0, 1.0], [(0.0, 0.2), (0.9, 1.0)]) == pytest.approx((0.45, 0.6))
