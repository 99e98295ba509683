import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vla_bench import RunSpec, execute, plan_run
from vla_bench.reports.measured import read_run
from vla_bench.reports.statistics.intervals import mean_interval, wilson
from vla_bench.reports.success import cells, markdown, success_rows


@given(st.integers(1, 500), st.data())
def test_wilson_agrees_with_its_formula(total, data):
    successes = data.draw(st.integers(0, total))
    z, rate = 1.959963984540054, successes / total
    centre = (rate + z * z / (2 * total)) / (1 + z * z / total)
    half = z * np.sqrt(rate * (1 - rate) / total + z * z / (4 * total**2)) / (1 + z * z / total)
    low, high = wilson(successes, total)
    np.testing.assert_allclose((low, high), (centre - half, centre + half), atol=1e-9)
    assert 0 <= low <= rate + 1e-12
    assert rate - 1e-12 <= high <= 1


def test_wilson_covers_what_it_claims():
    rng = np.random.default_rng(0)
    covered = [
        low <= 0.8 <= high
        for low, high in (wilson(int(k), 50) for k in rng.binomial(50, 0.8, 2000))
    ]
    assert np.mean(covered) == pytest.approx(0.95, abs=0.02)


@pytest.mark.parametrize("rates", [[0.6], [0.02, 0.5, 0.99, 0.9, 0.1, 0.5, 0.86], [1.0, 1.0]])
def test_the_interval_of_a_mean_covers_what_it_claims(rates):
    rng, covered = np.random.default_rng(1), []
    for _ in range(1000):
        counts = rng.binomial(50, rates)
        found = [wilson(int(k), 50) for k in counts]
        low, high = mean_interval(list(counts / 50), found)
        assert 0 <= low <= counts.mean() / 50 <= high <= 1
        covered.append(low <= np.mean(rates) <= high)
    assert np.mean(covered) > 0.93


def test_the_interval_of_one_rate_is_its_own():
    assert mean_interval([0.3], [(0.2, 0.45)]) == pytest.approx((0.2, 0.45))


def test_rows_count_what_the_records_say(tmp_path):
    planned = plan_run(RunSpec(policy="walker", suite="line", episodes=10, out=tmp_path))
    records = execute(planned)
    run = read_run(tmp_path)
    rows = success_rows(run)
    for row in rows:
        of_task = [r for r in records if r.task == row.task]
        won = [r.first_success for r in of_task if r.success]
        assert (row.successes, row.episodes, row.missing) == (len(won), 20, 0)
        assert row.steps_to_success == pytest.approx(np.mean(won))
    page = markdown(run)
    assert " | ".join(cells(rows[0])) in page
    assert "never to be ranked" in page
    lines = planned.folder.episodes.read_text().splitlines(keepends=True)
    planned.folder.episodes.write_text("".join(lines[:25]))
    assert [row.missing for row in success_rows(read_run(tmp_path))] == [0, 15]
