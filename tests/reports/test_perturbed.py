from dataclasses import replace
from math import comb

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vla_bench import RunSpec, execute, plan_run
from vla_bench.reports.measured import read_run
from vla_bench.reports.perturbed import markdown, paired_rows
from vla_bench.reports.statistics.pairs import Pairs, paired_interval
from vla_bench.reports.success import success_rows

ARM = "action-noise:3"


def run(out, *perturbations, **changes):
    chosen = {"policy": "walker", "suite": "line", "episodes": 6, "trials": 1}
    execute(plan_run(RunSpec(**{**chosen, "perturbations": perturbations, "out": out, **changes})))
    return read_run(out)


def changed(measured, places=(), **values):
    """The run with other values in some of its episodes; in all of them without places."""
    frame = measured.episodes.copy()
    where = [place_of(row) in places or not places for _, row in frame.iterrows()]
    for name, value in values.items():
        frame.loc[where, name] = value(frame[where]) if callable(value) else value
    return replace(measured, episodes=frame)


def place_of(row):
    return row["task"], row["index"], row["arm"]


def test_rows_count_pairs_of_the_same_item(tmp_path):
    measured = changed(run(tmp_path, ARM), success=lambda frame: frame["index"] > 0)
    lost = {("go-right", index, ARM) for index in (1, 2)}
    gained = {("go-right", 0, ARM)}
    flipped = changed(measured, lost | gained, success=lambda frame: ~frame["success"])
    right, on, total = paired_rows(flipped)[ARM]
    assert right.pairs == Pairs(both=3, only_first=2, only_second=1, neither=0)
    assert on.pairs == Pairs(both=5, only_first=0, only_second=0, neither=1)
    assert (total.task, total.pairs.both, total.pairs.total) == ("all 2 tasks", 8, 12)
    assert right.difference[0] == pytest.approx(-1 / 6)
    assert total.difference[0] == pytest.approx(-1 / 12)


def test_the_success_table_is_of_clean_episodes_only(tmp_path):
    clean, mixed = run(tmp_path / "clean"), run(tmp_path / "mixed", ARM)
    assert success_rows(clean) == success_rows(mixed)
    assert markdown(clean) == []
    assert "nothing can differ" not in "".join(markdown(mixed))


def test_an_item_counts_when_both_episodes_are_there(tmp_path):
    measured = changed(run(tmp_path, ARM), {("go-on", 2, ARM)}, recorded=False, success=False)
    right, on, _ = paired_rows(measured)[ARM]
    assert (right.pairs.total, right.missing, on.pairs.total, on.missing) == (6, 0, 5, 1)


def test_a_policy_that_cannot_notice_is_named(tmp_path):
    measured = run(tmp_path, "image-noise:1", policy="expert", suite="micro", tasks=["detour"])
    assert "expert reads no images, so that nothing can differ" in "".join(markdown(measured))


COUNTS = st.tuples(*[st.integers(0, 20)] * 4).filter(any)


@given(COUNTS)
def test_interval_of_paired_rates(counts):
    both, gained, lost, neither = counts
    value, (low, high) = paired_interval(*counts)
    assert -1 - 1e-9 <= low <= value <= high <= 1 + 1e-9
    assert value == pytest.approx((gained - lost) / sum(counts))
    mirrored, (least, most) = paired_interval(both, lost, gained, neither)
    assert (mirrored, least, most) == pytest.approx((-value, -high, -low))


def test_newcombes_own_example():
    """Newcombe 1998, table III: 36, 12, 2, 0 of 50 pairs, difference 0.2, method 10."""
    value, interval = paired_interval(36, 12, 2, 0)
    assert value == pytest.approx(0.2)
    assert interval == pytest.approx((0.0569, 0.3404), abs=5e-5)


@pytest.mark.parametrize("rates", [(0.0, 0.1), (0.1, 0.1), (0.3, 0.05), (0.02, 0.5)])
def test_the_interval_covers_as_often_as_it_says(rates):
    gain, loss = rates
    pairs, covered = 20, 0.0
    agree = 1 - gain - loss
    for gained in range(pairs + 1):
        for lost in range(pairs + 1 - gained):
            for both in range(pairs + 1 - gained - lost):
                neither = pairs - gained - lost - both
                _, (low, high) = paired_interval(both, gained, lost, neither)
                ways = comb(pairs, gained) * comb(pairs - gained, lost) * comb(both + neither, both)
                chance = (
                    gain**gained * loss**lost * (0.7 * agree) ** both * (0.3 * agree) ** neither
                )
                covered += ways * chance * (low <= gain - loss <= high)
    assert covered > 0.93
