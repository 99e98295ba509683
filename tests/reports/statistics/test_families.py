from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats.multitest import multipletests

from vla_bench.reports.statistics.families import compact_letters, holm, rank

POLICIES = 8
GRAPHS = st.sets(st.sampled_from(list(combinations(range(POLICIES), 2))))


@settings(max_examples=25)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=40))
def test_holm_is_statsmodels(p_values):
    assert holm(p_values) == pytest.approx(multipletests(p_values, method="holm")[1], abs=1e-9)


@given(st.permutations(range(POLICIES)), GRAPHS)
def test_policies_share_a_letter_exactly_if_they_do_not_differ(order, different):
    letters = compact_letters(order, different)
    for i, j in combinations(range(POLICIES), 2):
        assert bool(set(letters[i]) & set(letters[j])) == ((i, j) not in different)
    assert letters[order[0]][0] == "a"
    held = ["".join(str(i) for i in order if x in letters[i]) for x in set("".join(letters))]
    assert not any(set(a) < set(b) for a in held for b in held), "a letter says nothing of its own"


def test_letters_run_out_gracefully():
    letters = compact_letters(range(60), list(combinations(range(60), 2)))
    assert letters[0] == "a"
    assert letters[51:54] == ["Z", ".a", ".b"]


def test_ranks_of_three_by_hand():
    outcomes = np.zeros((3, 100), bool)
    outcomes[0, :20] = outcomes[1, :90] = outcomes[2, :85] = True
    ranking = rank(outcomes)
    assert list(ranking.letters) == ["b", "a", "a"]
    assert list(ranking.rank_sets) == [(3, 3), (1, 2), (1, 2)]
    assert ranking.adjusted[1, 2] == pytest.approx(2 / 2**5)
    assert ranking.adjusted[0, 1] == pytest.approx(3 * 2 / 2**70)


def test_what_is_significant_alone_need_not_be_so_in_a_family():
    outcomes = np.zeros((3, 100), bool)
    outcomes[0, :50] = outcomes[1, :56] = outcomes[2, 3:53] = True
    assert rank(outcomes[:2]).rank_sets == [(2, 2), (1, 1)]
    assert rank(outcomes).rank_sets == [(1, 3)] * 3


def test_one_policy_and_twins():
    assert rank(np.ones((1, 5), bool)).rank_sets == [(1, 1)]
    twins = rank(np.ones((2, 5), bool))
    assert (list(twins.letters), list(twins.rank_sets)) == (["a", "a"], [(1, 2)] * 2)


def test_equal_policies_are_told_apart_in_one_of_twenty_families_at_most():
    generator = np.random.default_rng(0)
    false = [
        any(sets != (1, 4) for sets in rank(generator.random((4, 50)) < 0.5).rank_sets)
        for _ in range(100)
    ]
    assert np.mean(false) <= 0.05
