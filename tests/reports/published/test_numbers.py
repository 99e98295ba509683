from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from vla_bench.cards import SuiteCard, find_cards, load_card
from vla_bench.errors import UserError
from vla_bench.reports.published import quoted
from vla_bench.reports.published.numbers import COLUMNS, FOLDER, find_papers, read_paper

ROOT = Path(__file__).parents[3]
ROW = {
    "source": "A paper (arXiv 1)", "table": "Table 1", "method": "m", "suite": "ms-hab",
    "task": "pick-bowl", "setting": "horizon=2; input=RGB", "metric": "success-rate", "unit": "%",
    "value": "42.90", "spread": "0.8", "trials": "3", "episodes": "300", "mean_of": "",
    "origin": "paper", "note": "",
}  # fmt: skip


@pytest.fixture
def paper(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def write(*rows, columns=COLUMNS):
        path = tmp_path / FOLDER / "a-paper.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = [",".join({**ROW, **row}.values()) for row in rows]
        path.write_text("\n".join([",".join(columns), *lines]) + "\n")
        read_paper.cache_clear()
        return path

    return write


def test_a_figure_keeps_what_the_paper_prints(paper):
    paper({})
    [figure] = quoted(paper="a-paper")
    assert (figure.number, str(figure.value), figure.digits) == (42.9, "42.90", 2)
    assert figure.setting == {"horizon": "2", "input": "RGB"}
    assert (figure.trials, figure.episodes, figure.mean_of) == (3, 300, None)
    assert figure.citation == "A paper (arXiv 1), Table 1"


def test_a_digest_is_told(paper):
    paper({"origin": "digest"})
    assert quoted(paper="a-paper")[0].citation.endswith("from a digest")


def test_our_papers_are_found_beside_those_of_the_working_folder(paper):
    paper({})
    assert {"a-paper", "anchorvla", "focusvla", "posa-vla", "deepvision-vla"} <= set(find_papers())


def test_what_is_asked_for_is_what_comes():
    [figure] = quoted(paper="anchorvla", table="Table 1", method="ACT", task="pick-apple")
    assert str(figure.value) == "28.0"
    assert {f.paper for f in quoted(suite="libero", metric="success-rate")} == {"focusvla"}
    assert quoted(suite="nowhere") == []


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"value": "43 %"}, "line 3: value: .*'43 %'"),
        ({"value": ""}, "line 3: value: "),
        ({"value": "142"}, "line 3: a success rate of 142 %"),
        ({"metric": "success-rat"}, "no metric 'success-rat'; did you mean 'success-rate'"),
        ({"unit": "Hz"}, "line 3: success-rate is in %"),
        ({"episodes": "many"}, "line 3: episodes: .*'many'"),
        ({"episodes": "0"}, "line 3: episodes: "),
        ({"origin": "rumour"}, "line 3: origin: .*'rumour'"),
        ({"setting": "H2"}, "line 3: setting: expected `key=value; key=value`, found 'H2'"),
        ({"mean_of": "6"}, "line 3: mean_of is for task 'average' only"),
        ({"source": ""}, "line 3: source: "),
        ({"note": "one, two"}, "line 3: 16 cells for 15 columns"),
        ({"task": "pick-apple"}, "line 3: the figure is in the file already"),
    ],
)
def test_a_mistake_in_a_row_is_one_line(paper, row, message):
    path = paper({"task": "pick-apple"}, row)
    with pytest.raises(UserError, match=message) as caught:
        quoted()
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_other_columns_are_a_mistake(paper):
    paper({}, columns=[*COLUMNS[1:], "std"])
    with pytest.raises(UserError, match="line 1: expected the columns source,table,"):
        quoted()


def test_tasks_have_our_names_where_we_have_them():
    ours = find_cards(SuiteCard)
    named = {(f.suite, f.task) for f in quoted() if not f.task.startswith("task ")}
    suites = {suite for suite, _ in named if suite in ours}
    assert {"ms-hab", "libero", "libero-long"} <= suites
    for suite in suites:
        tasks = {task for of, task in named if of == suite}
        assert tasks <= {"average", *load_card(SuiteCard, suite).tasks}


def test_secondary_figures_say_so():
    secondary = {(f.paper, f.table) for f in quoted() if f.origin == "digest"}
    assert ("anchorvla", "Figure 4a") in secondary
    assert {paper for paper, _ in secondary if paper in ("posa-vla", "deepvision-vla")} == {
        f.paper for f in quoted() if f.paper in ("posa-vla", "deepvision-vla")
    }
    assert not {t for p, t in secondary if p in ("anchorvla", "focusvla") and "Table" in t}


PAPERS = {
    "AnchorVLA": "anchorvla",
    "FocusVLA": "focusvla",
    "PosA-VLA": "posa-vla",
    "DeepVision-VLA": "deepvision-vla",
}
"""How the sources of quoted tables begin -> the file of that paper."""


def test_the_sweeps_quote_the_same_numbers():
    for path in (ROOT / "policies" / "sweeps").glob("*.toml"):
        for table in tomllib.loads(path.read_text()).get("quoted", []):
            [paper] = [paper for name, paper in PAPERS.items() if table["source"].startswith(name)]
            printed = {f.number for f in quoted(paper=paper)}
            shown = {cell for row in table["rows"] for cell in row if isinstance(cell, float)}
            assert shown <= printed, path


def test_a_wheel_has_the_papers():
    config = tomllib.loads((ROOT / "pyproject.toml").read_text())
    included = config["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]
    assert included[FOLDER] == f"vla_bench/_cards/{FOLDER}"
