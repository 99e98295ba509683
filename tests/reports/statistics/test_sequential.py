import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import betainc, betaln

from benchmarks.error_rates import crossing, verdicts_of
from vla_bench.reports.statistics.pairs import Pairs
from vla_bench.reports.statistics.sequential import Verdict, decide, e_value

PAIRS = st.builds(Pairs, *[st.integers(0, 60)] * 4)
MARGINS = st.sampled_from([0.0, 0.05, 0.1, 0.5, 1.0])


def after(pairs, **one):
    return Pairs(**{**vars(pairs), **{name: getattr(pairs, name) + 1 for name in one}})


@given(PAIRS, MARGINS, st.floats(0, 1))
def test_a_further_item_cannot_be_expected_to_pay_under_the_hypothesis(pairs, margin, share):
    """Wherever the mean of D is -margin: the capital after the item is on the average what it was."""
    gained = share * (1 - margin) / 2
    chances = {"only_second": gained, "only_first": gained + margin}
    chances["both"] = 1 - sum(chances.values())
    expected = sum(p * e_value(after(pairs, **{name: 1}), margin) for name, p in chances.items())
    assert expected == pytest.approx(e_value(pairs, margin))


def test_capital_starts_at_one_and_stays_finite():
    assert e_value(Pairs(0, 0, 0, 0), 0.1) == pytest.approx(1)
    assert math.isfinite(e_value(Pairs(0, 0, 10**6, 0)))
    assert e_value(Pairs(0, 10**6, 0, 0)) == 0


@given(st.integers(0, 60), st.integers(0, 60))
def test_without_a_margin_it_is_the_mixed_likelihood_ratio(won, lost):
    mixed = math.log(2) * (won + lost + 1) + betaln(won + 1, lost + 1)
    above = 1 - betainc(won + 1, lost + 1, 0.5)
    if above > 1e-9:
        assert e_value(Pairs(5, lost, won, 3)) == pytest.approx(math.exp(mixed) * above, rel=0.05)


@pytest.mark.parametrize(
    ("pairs", "verdict"),
    [
        (Pairs(50, 10, 0, 40), Verdict.worse),
        (Pairs(50, 0, 10, 40), Verdict.not_worse),
        (Pairs(60, 0, 0, 40), Verdict.not_worse),
        (Pairs(5, 0, 0, 5), Verdict.undecided),
        (Pairs(900, 40, 10, 50), Verdict.worse),
    ],
)
def test_verdicts(pairs, verdict):
    assert decide(pairs, 0.1) is verdict


def test_equal_policies_are_rarely_told_apart_however_often_one_looks():
    assert crossing(500, 0.5)[-1] <= 0.05
    assert crossing(100, 0.8)[-1] > 0.99


@pytest.mark.parametrize("discordant", [0.1, 0.4])
def test_a_gate_errs_in_one_of_twenty_at_most_and_saves_items(discordant):
    verdicts, saved = verdicts_of(350, 0.0, discordant, 400)
    assert verdicts.count(Verdict.worse) <= 20
    assert discordant > 0.1 or saved > 0.4
    if discordant > 0.1:
        verdicts, _ = verdicts_of(350, -0.1, discordant, 400)
        assert verdicts.count(Verdict.not_worse) <= 20
    verdicts, saved = verdicts_of(350, -0.3, 0.4, 300)
    assert verdicts.count(Verdict.worse) >= 299
    assert saved > 0.5
