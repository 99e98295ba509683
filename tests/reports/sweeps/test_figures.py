import itertools
import re

import matplotlib.colors
import numpy as np
import pytest

from vla_bench import execute, load_card, plan_run
from vla_bench.reports import drawing
from vla_bench.reports.sweeps import figures
from vla_bench.reports.sweeps.kept import keep
from vla_bench.reports.sweeps.results import SweepResults
from vla_bench.reports.sweeps.value_axis import ValueAxis
from vla_bench.sweeps import Sweep, plan_sweep


@pytest.fixture
def results(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    plan = plan_sweep(load_card(Sweep, "skill"))
    for point in plan.points:
        execute(plan_run(point.spec))
    return SweepResults(plan.sweep, keep(plan, "vla-bench sweep skill"))


def curves(ax):
    return [line for line in ax.get_lines() if str(line.get_gid()).startswith("curve ")]


def heights(line):
    return np.asarray(line.get_ydata(), float)


def test_one_curve_per_arm_through_its_rates(results):
    figure = figures.draw(results)
    assert len(figure.axes) == 2
    for ax in figure.axes:
        assert [line.get_gid().split(" ", 2)[2] for line in curves(ax)] == [
            "Walker",
            "Drunkard",
            "Holder",
        ]
    walker, drunkard, holder = curves(figure.axes[0])
    rates = [point.rate for point in results.points]
    np.testing.assert_allclose(heights(walker), rates[:3])
    np.testing.assert_allclose(heights(drunkard), rates[3:5])
    np.testing.assert_allclose(heights(holder), rates[5:])
    assert [t.get_text() for t in figure.axes[0].get_xticklabels()] == ["0.1", "0.5", "0.9"]
    assert figure.axes[0].get_xlabel() == "skill (probability)"
    assert "batch 4" in figure.axes[1].get_xlabel()
    speeds = [point.queries_per_s for point in results.points[:3]]
    drawn = np.asarray(curves(figure.axes[1])[0].get_xdata(), float)
    np.testing.assert_allclose(drawn, speeds)
    assert "toy" in figure.get_suptitle()
    assert "40 items" in figures.caption(results)


def test_intervals_are_drawn(results):
    ax = figures.draw(results).axes[0]
    (bars,) = ax.containers[0].lines[2]
    drawn = [(segment[0, 1], segment[1, 1]) for segment in bars.get_segments()]
    wanted = [results.interval(point) for point in results.points[:3]]
    np.testing.assert_allclose(drawn, wanted)


def test_files_are_pictures_and_the_same_twice(results, tmp_path):
    svg, _, png = figures.write_figure(results, tmp_path / "f.x")
    assert (svg.name, png.name) == ("f.x.svg", "f.x.png")
    text = svg.read_text()
    assert len(re.findall(r'id="curve ', text)) == 6
    assert png.read_bytes().startswith(b"\x89PNG\r\n")
    size = np.frombuffer(png.read_bytes()[16:24], ">u4")
    assert tuple(size) > (1000, 500)
    figures.write_figure(results, tmp_path / "f.x")
    assert svg.read_text() == text


def test_arms_stay_apart_in_grey_print():
    grey = [
        np.dot(matplotlib.colors.to_rgb(colour), (0.299, 0.587, 0.114))
        for colour in drawing.COLOURS
    ]
    assert min(abs(a - b) for a, b in itertools.combinations(grey, 2)) > 0.1
    names = ["a", "a", "b", "c", "b", "d"]
    looks = drawing.looks({str(i): name for i, name in enumerate(names)})
    assert len({(look.colour, look.dash) for look in looks.values()}) == len(names)
    assert looks["0"].colour == looks["1"].colour != looks["2"].colour
    assert not looks["0"].hollow
    assert looks["1"].hollow


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([1, 2, 16], "log"),
        ([0.2, 0.5, 1.0], "linear"),
        ([0, 40, 100], "linear"),
        ([False, True], "names"),
        (["argmax", "first"], "names"),
        ([5], "linear"),
    ],
)
def test_values_find_their_place(values, kind):
    axis = ValueAxis.of([None, *values])
    assert axis.kind == kind
    places = [[axis.place(value, nth, 3) for nth in range(3)] for value in [*values, None]]
    flat = [place for row in places for place in row]
    assert flat == sorted(flat)
    assert len(set(flat)) == len(flat)
