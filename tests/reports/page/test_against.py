from pathlib import Path

import pytest

from vla_bench.reports.measured import read_run
from vla_bench.reports.page import against
from vla_bench.reports.page.entries import entries_of
from vla_bench.reports.tables.table import Value

RUNS = Path(__file__).parents[3] / "results" / "runs"


@pytest.fixture
def entries():
    names = ("l1-libero-object", "anchorvla-libero-object-blank-images", "l1-ms-hab-mini")
    return entries_of([read_run(RUNS / name) for name in names])


def test_runs_on_development_assets_are_held_against_nothing(entries) -> None:
    assert against.section("libero-object", entries) is None


def test_differences_have_an_interval_where_n_is_known(entries, monkeypatch) -> None:
    monkeypatch.setattr(against, "known_sets", dict)
    (table,) = against.section("libero-object", entries).parts
    assert {row.section for row in table.rows} == {entries[0].label}
    found = {(row.cells[0], row.cells[1]): row.cells[2:] for row in table.rows}
    printed, episodes, ours, difference = found["FocusVLA", "weights single, parameters 0.5B"]
    assert (printed.number, episodes.number, ours.number) == (98.4, 500, 100.0)
    assert difference.number == pytest.approx(1.6)
    low, high = difference.interval
    assert ours.interval[0] - printed.number - 2 < low < 0 < difference.number < high
    unknown = found["OpenVLA", "weights multi, parameters 7B"]
    assert unknown[1] == Value(None, digits=0)
    assert unknown[3].interval is None
    assert unknown[3].number == pytest.approx(11.6)


def test_a_mini_world_is_held_against_nothing(entries) -> None:
    assert against.section("ms-hab-mini", entries[2:]) is None
