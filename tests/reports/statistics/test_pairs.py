import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.stats.contingency_tables import mcnemar as reference

from benchmarks.error_rates import SIZES, mcnemar_rejects
from vla_bench.reports.statistics.pairs import Pairs, mcnemar, paired_interval

PAIRS = st.builds(Pairs, *[st.integers(0, 200)] * 4)


@given(PAIRS)
def test_mcnemar_is_statsmodels(pairs):
    table = [[pairs.both, pairs.only_first], [pairs.only_second, pairs.neither]]
    theirs = reference(table, exact=True).pvalue if pairs.discordant else 1.0
    assert mcnemar(pairs) == pytest.approx(theirs, abs=1e-9)
    assert mcnemar(pairs) == pytest.approx(mcnemar(pairs.swapped), abs=1e-12)


def test_mcnemar_by_hand():
    assert mcnemar(Pairs(90, 0, 6, 4)) == pytest.approx(2 / 2**6)
    assert mcnemar(Pairs(90, 3, 3, 4)) == mcnemar(Pairs(90, 0, 0, 4)) == 1


def test_pairs_are_counted():
    first = np.array([True, True, True, False, False])
    second = np.array([True, False, False, True, False])
    pairs = Pairs.of(first, second)
    assert pairs == Pairs(both=1, only_first=2, only_second=1, neither=1)
    assert (pairs.total, pairs.discordant) == (5, 3)
    assert pairs.swapped == Pairs.of(second, first)
    assert pairs.difference == paired_interval(1, 1, 2, 1)
    assert pairs.difference[0] == pytest.approx(-0.2)


@pytest.mark.parametrize("n", SIZES)
def test_mcnemar_errs_in_one_of_twenty_at_most(n):
    assert max(mcnemar_rejects(n, d, 0.5) for d in (0.02, 0.1, 0.3, 0.6, 1.0)) <= 0.05


def test_mcnemar_finds_what_is_there():
    assert mcnemar_rejects(500, 0.2, 0.75) > 0.99
    assert mcnemar_rejects(100, 0.2, 0.75) > 0.5
