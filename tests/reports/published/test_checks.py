from __future__ import annotations

import math
from decimal import Decimal
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from vla_bench.reports.published.checks import misfits, parts_of, unattainable
from vla_bench.reports.published.numbers import Quoted, quoted

KNOWN_MISFITS = {
    ("anchorvla", "Table 1", "pi0", "33.5", "29.10"),
    ("anchorvla", "Table 1", "ACT", "23.6", "27.57"),
    ("anchorvla", "Table 1", "RDT", "42.9", "42.68"),
    ("anchorvla", "Table 1", "DP", "28.8", "33.60"),
    ("anchorvla", "Table 1", "DP3", "21.6", "25.17"),
    ("anchorvla", "Table 1", "AC-DiT", "55.6", "51.32"),
    ("focusvla", "Table 1", "FocusVLA", "97.0", "96.75"),
    ("focusvla", "Table 5", "FocusVLA", "58", "49.14"),
}
UNATTAINABLE = {
    ("Table 1", "44.5"), ("Table 1", "63.8"), ("Table 1", "88.9"), ("Table 1", "16.1"),
    ("Table 1", "42.9"), ("Table 1", "69.6"), ("Table 1", "82.5"),
    ("Table 2", "12.8"), ("Table 2", "5.6"), ("Table 2", "42.9"), ("Table 2", "12.6"),
    ("Table 3", "33.6"), ("Table 3", "42.9"),
}  # fmt: skip
"""All in the AnchorVLA paper's own rows, which should be of 300 episodes."""


def figure(value, task, **more):
    return Quoted.model_validate(
        {
            "paper": "p", "source": "P (arXiv 1)", "table": "Table 1", "method": "m", "suite": "s",
            "metric": "success-rate", "unit": "%", "origin": "paper",
            "value": value, "task": task, **more,
        }
    )  # fmt: skip


def test_exactly_the_known_averages_do_not_fit_their_parts():
    found = {
        (
            m.figure.paper,
            m.figure.table,
            m.figure.method,
            str(m.figure.value),
            f"{float(m.mean):.2f}",
        )
        for m in misfits(quoted())
    }
    assert found == KNOWN_MISFITS
    assert len(misfits(quoted())) == 8


def test_the_averages_of_tables_are_checked():
    figures = [*quoted(paper="anchorvla"), *quoted(paper="focusvla")]
    checked = [f for f in figures if f.mean_of and len(parts_of(f, figures)) == f.mean_of]
    assert len(checked) == 49


def test_rates_that_their_episodes_cannot_give():
    found = [u.figure for u in unattainable(quoted())]
    assert {(f.table, str(f.value)) for f in found} == UNATTAINABLE
    assert len(found) == len(UNATTAINABLE)
    assert {(f.paper, f.method, f.episodes) for f in found} == {("anchorvla", "AnchorVLA", 300)}


def could_be(printed, divisor):
    """Whether three trials give a mean and spread that round to these, with squares over a divisor."""
    mean, spread = Fraction(printed.value), float(printed.spread)
    totals = [k for k in range(301) if abs(Fraction(k, 3) - mean) <= Fraction(1, 20)]
    return any(
        abs(math.sqrt(sum((k - total / 3) ** 2 for k in (a, b, total - a - b)) / divisor) - spread)
        <= 0.05 + 1e-9
        for total in totals
        for a in range(101)
        for b in range(a, 101)
        if b <= total - a - b <= 100
    )


def test_the_papers_spread_is_the_standard_deviation_of_three_trials_themselves():
    rows = quoted(paper="anchorvla", table="Table 1")
    baselines = [f for f in rows if f.method != "AnchorVLA" and f.spread is not None]
    assert len(baselines) == 36
    assert all(could_be(f, divisor=3) for f in baselines)
    assert sum(could_be(f, divisor=2) for f in baselines) < 20


digits = st.integers(0, 3)
counts = st.lists(st.integers(0, 1000), min_size=2, max_size=12)


@given(counts, digits, digits)
def test_honest_rounding_always_fits(successes, of_parts, of_mean):
    rates = [Decimal(k) / 10 for k in successes]
    parts = [figure(str(round(r, of_parts)), f"t{n}") for n, r in enumerate(rates)]
    mean = round(sum(rates) / len(rates), of_mean)
    assert misfits([*parts, figure(str(mean), "average", mean_of=len(parts))]) == []


@given(counts, digits, st.integers(1, 20))
def test_a_mean_beyond_rounding_is_flagged(successes, places, beyond):
    parts = [figure(f"{k / 10:.1f}", f"t{n}") for n, k in enumerate(successes)]
    mean = sum(p.value for p in parts) / len(parts)
    printed = round(mean, places)
    off = Decimal(beyond) / 10**places + Decimal("0.1")
    shifted = printed + off if printed + off <= 100 else printed - off
    if shifted >= 0:
        shifted = round(shifted, max(places, 1))
        [found] = misfits([*parts, figure(str(shifted), "average", mean_of=len(parts))])
        assert found.figure.value == shifted


def test_an_average_is_checked_only_against_all_of_its_parts():
    parts = [figure("10", "a"), figure("20", "b"), figure("90", "c", method="other")]
    assert misfits([*parts, figure("80", "average", mean_of=3)]) == []
    assert misfits([*parts, figure("80", "average")]) == []
    [found] = misfits([*parts, figure("80", "average", mean_of=2)])
    assert str(found) == "the paper prints 80; the mean of its 2 tasks is 15.0"


def test_a_suite_of_suites_is_the_mean_of_their_averages():
    figures = [
        figure("10.0", "average", suite="libero-goal", mean_of=10),
        figure("20.0", "average", suite="libero-long", mean_of=10),
        figure("15.0", "average", suite="libero", mean_of=2),
    ]
    assert misfits(figures) == []
    wrong = figure("16.0", "average", suite="libero", mean_of=2)
    assert "mean of its 2 suites is 15.00" in str(misfits([*figures[:2], wrong])[0])


@given(st.integers(1, 3000), st.floats(0, 1), digits)
def test_a_rate_of_whole_successes_is_attainable(episodes, share, places):
    rate = Decimal(100 * round(share * episodes)) / episodes
    assert unattainable([figure(str(round(rate, places)), "t", episodes=episodes)]) == []


@given(st.integers(2, 40), st.data())
def test_a_rate_between_two_successes_is_not(episodes, data):
    successes = data.draw(st.integers(0, episodes - 1))
    between = round(Decimal(100 * (2 * successes + 1)) / (2 * episodes), 2)
    assert len(unattainable([figure(str(between), "t", episodes=episodes)])) == 1
