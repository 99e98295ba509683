import csv
import io
import re
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.conftest import TOY
from vla_bench import RunSpec, execute, plan_run
from vla_bench.cli import app
from vla_bench.errors import UserError
from vla_bench.reports import page
from vla_bench.reports.measured import MeasuredRun, read_run
from vla_bench.reports.page.entries import entries_of
from vla_bench.reports.page.layouts import section as layouts_of
from vla_bench.reports.page.standing import standing_of
from vla_bench.reports.page.success import short
from vla_bench.reports.success import mean_rate, success_rows
from vla_bench.reports.tables.table import Value


def played(out: Path, policy: str = "walker", suite: str = "line", **spec) -> MeasuredRun:
    chosen = {"episodes": 8, "trials": 2, **spec}
    execute(plan_run(RunSpec(policy, suite, out=out, **chosen)))
    return read_run(out)


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> dict[str, MeasuredRun]:
    root = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VLA_BENCH_PATH", str(TOY))
        made = {f"h{h}": played(root / f"h{h}", horizon=h) for h in (1, 2, 3)}
        made["weak"] = played(root / "weak", options={"skill": "0.2"})
        made["delayed"] = played(root / "delayed", delay=2)
        made["blind"] = played(root / "blind", input_control="blank-images")
        levels = [f"action-noise:{level}" for level in (1, 3)]
        made["pushed"] = played(root / "pushed", "drunkard", perturbations=levels)
        made["filmed"] = played(
            root / "filmed",
            "random",
            "micro",
            tasks=["detour"],
            episodes=2,
            trials=1,
            video="failures",
        )
    return made


@pytest.fixture(scope="module")
def report(runs) -> page.Report:
    return page.build(list(runs.values()))


@pytest.fixture(scope="module")
def folder(report, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("report")
    page.write(report, out)
    return out


def table(report: page.Report, name: str):
    return next(table for table in report.tables if table.name == name)


def copied(run: MeasuredRun, out: Path) -> Path:
    out.mkdir()
    for name in ("manifest.json", "items.jsonl", "episodes.jsonl"):
        shutil.copy(run.path / name, out)
    return out


def test_the_success_table_says_what_the_records_say(runs, report) -> None:
    rows = {str(row.cells[0]): row for row in table(report, "line-success").rows}
    cells = rows["walker, H=2, skill=0.2"].cells
    found = success_rows(runs["weak"])
    rate, interval = mean_rate(found)
    mean = cells[1]
    assert (mean.number, mean.interval) == (100 * rate, tuple(100 * bound for bound in interval))
    assert [cell.count for cell in cells[-2:]] == [(row.successes, row.episodes) for row in found]
    assert cells[2].spread is not None


def test_all_forms_say_the_same_numbers(report, folder) -> None:
    page_text = re.sub(r"<[^>]*>", "", (folder / "index.html").read_text())
    markdown = (folder / "report.md").read_text()
    for one in report.tables:
        tex = (folder / "tables" / f"{one.name}.tex").read_text().replace("$\\pm$", "±")
        text = (folder / "tables" / f"{one.name}.csv").read_text()
        lines = list(csv.reader(io.StringIO(text)))[1:]
        for row, line in zip(one.rows, lines, strict=True):
            for cell in row.cells:
                if isinstance(cell, Value) and cell.number is not None:
                    assert f"{cell.number + 0.0:.6g}" in line
                    for form in (page_text, markdown, tex):
                        assert str(cell) in form


def test_only_comparable_runs_are_ranked(runs) -> None:
    entries = entries_of([runs[name] for name in ("h1", "h2", "weak", "delayed", "blind")])
    standing = standing_of(entries)
    assert {entry.run.name for entry in standing.ranked} == {"h1", "h2", "weak"}
    assert [reason.partition(": ")[2] for reason in standing.unranked.values()] == [
        "reaction delay of 2 control steps",
        "input control blank-images",
    ]
    assert standing.rank_set(standing.ranked[-1])[1] == 3


def test_incomplete_and_other_worlds_are_not_ranked(runs, tmp_path) -> None:
    short_of_one = copied(runs["h1"], tmp_path / "short")
    lines = (short_of_one / "episodes.jsonl").read_text().splitlines(keepends=True)
    (short_of_one / "episodes.jsonl").write_text("".join(lines[1:]))
    moved = copied(runs["h2"], tmp_path / "moved")
    manifest = (moved / "manifest.json").read_text()
    (moved / "manifest.json").write_text(manifest.replace('"friction": 0.0', '"friction": 0.5'))
    found = [runs["h1"], runs["h2"], read_run(short_of_one), read_run(moved)]
    standing = standing_of(entries_of(found))
    assert [entry.run.name for entry in standing.ranked] == ["h1", "h2"]
    reasons = list(standing.unranked.values())
    assert reasons[0] == f"not ranked: 1 of {len(lines)} episodes are missing"
    assert "not comparable with" in reasons[1]
    assert "friction" in reasons[1]


def test_nothing_is_bold_that_may_be_second(report) -> None:
    for row in table(report, "line-success").rows:
        cells = [cell for cell in row.cells if isinstance(cell, Value) and cell.best]
        assert not cells or row.cells[3] == "1"


def test_one_setting_varied_makes_a_curve(report) -> None:
    names = {picture.name for picture in report.pictures}
    assert {"line-horizon", "line-action-noise", "line-heat", "line-failures"} <= names
    assert "line-skill" not in names
    assert [row.cells[0] for row in table(report, "line-horizon").rows] == ["1", "2", "3"]


def test_single_changes_are_held_against_the_same_base(report) -> None:
    changes = {str(row.cells[0]) for row in table(report, "line-changes").rows}
    assert changes == {
        "horizon: 2 to 1",
        "horizon: 2 to 3",
        "skill: 0.7 to 0.2",
        "delay: 0 to 2",
        "input control: none to blank-images",
    }


def test_failures_are_shown_on_film(runs, folder) -> None:
    text = (folder / "index.html").read_text()
    for film in runs["filmed"].films.values():
        assert film.name in text
    assert 'poster="data:image/jpeg;base64,' in text
    [way] = set(re.findall(r'<video [^>]*src="([^"]*)/detour_0_000', text))
    assert (folder / way).resolve() == (runs["filmed"].path / "videos").resolve()


def test_the_page_needs_nothing_from_elsewhere(folder) -> None:
    text = (folder / "index.html").read_text()
    assert "<script" not in text
    assert not re.findall(r'(?:src|href)="(?:https?:|/)', text)
    assert "<link" not in text
    names = re.findall(r'\bid="([^"]*)"', text)
    assert len(names) == len(set(names))


def test_the_same_runs_give_the_same_bytes(runs, folder, tmp_path) -> None:
    again = tmp_path / "again"
    page.write(page.build([read_run(run.path) for run in runs.values()]), again)
    files = [path.relative_to(folder) for path in folder.rglob("*") if path.is_file()]
    assert len(files) > 20
    for path in files:
        if path.suffix != ".html" and path.suffix != ".md":  # these hold the way to the films
            assert (again / path).read_bytes() == (folder / path).read_bytes(), path
    once = {path: (again / path).read_bytes() for path in files}
    page.write(page.build([read_run(run.path) for run in runs.values()]), again)
    assert {path: (again / path).read_bytes() for path in files} == once


def test_a_mini_world_stands_beside_no_published_number(runs) -> None:
    assert layouts_of("ms-hab-mini", entries_of([runs["h1"]])) is None


def test_long_names_lose_what_they_share() -> None:
    names = [f"pick-up-the-{thing}-and-place-it-in-the-basket" for thing in ("milk", "red-soup")]
    assert short(names) == ["milk", "red-soup"]
    assert short(["go-on", "go-up"]) == ["go-on", "go-up"]


def test_mistakes_are_one_line(runs, tmp_path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(UserError, match="give a writable folder with --out"):
        page.write(page.build([runs["h1"]]), file)
    result = CliRunner().invoke(app, ["report", str(tmp_path), "--out", str(tmp_path / "out")])
    assert isinstance(result.exception, UserError)
    assert "not a run folder" in str(result.exception)
