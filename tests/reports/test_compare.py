import csv
import io
import json
import sys
from dataclasses import replace

import pytest
from rich.console import Console
from scipy.stats import binomtest

from vla_bench.cli import main
from vla_bench.errors import UserError
from vla_bench.records import RunFolder
from vla_bench.reports.compare import pages
from vla_bench.reports.compare.comparison import compare
from vla_bench.reports.compare.films import film
from vla_bench.reports.compare.splits import Split, spread
from vla_bench.reports.compare.verdict import verdict
from vla_bench.reports.paired import PairedRow
from vla_bench.reports.statistics.pairs import Pairs
from vla_bench.runs import RunSpec, execute, plan_run

EPISODES = 8
FILES = ("manifest.json", "items.jsonl", "episodes.jsonl")


def play(out, policy="expert", **spec):
    chosen = {"tasks": ["detour", "pick-red"], "episodes": EPISODES, "trials": 1, **spec}
    execute(plan_run(RunSpec(policy, "micro", out=out, **chosen)))
    return out


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """An expert, the same again, a random policy, the expert under a delay and with another seed."""
    folder = tmp_path_factory.mktemp("runs")
    play(folder / "expert")
    play(folder / "again")
    play(folder / "random", "random")
    play(folder / "late", delay=2)
    play(folder / "elsewhere", seed=1)
    return folder


def edited(source, out, change):
    """A copy of a run with other records."""
    out.mkdir()
    for name in FILES:
        (out / name).write_text((source / name).read_text())
    lines = map(json.loads, (source / "episodes.jsonl").read_text().splitlines())
    kept = [record for record in map(change, lines) if record is not None]
    (out / "episodes.jsonl").write_text("".join(json.dumps(record) + "\n" for record in kept))
    return out


def printed(comparison):
    console = Console(width=400, record=True, file=io.StringIO())
    pages.show(comparison, console)
    return console.export_text()


def test_counts_test_and_splits_are_those_of_the_records(runs):
    found = compare(runs / "random", runs / "expert")
    wins = [
        {record.item: record.success for record in RunFolder(runs / name).records()}
        for name in ("random", "expert")
    ]
    outcomes = [(wins[0][item], wins[1][item]) for item in wins[0]]
    pairs = found.total.pairs
    assert found.comparable
    assert pairs.total == 2 * EPISODES == len(outcomes)
    assert pairs.only_second == outcomes.count((False, True)) > 5
    p = binomtest(pairs.only_second, pairs.discordant).pvalue
    assert len(found.verdicts) == 1
    assert found.verdicts[0].startswith("expert is better than random by ")
    assert ("p < 0.001" if p < 0.001 else f"p = {p:.2g}") in found.verdicts[0]
    assert {split.item for split in found.splits} == {
        i for i in wins[0] if wins[0][i] != wins[1][i]
    }
    assert found.splits[0].replay == f"vla-bench replay {runs / 'random'} {found.splits[0].place}"


def test_a_policy_and_itself_agree_to_the_bit(runs):
    found = compare(runs / "expert", runs / "again")
    assert (found.agreement.both, found.splits) == (2 * EPISODES, [])
    assert found.verdicts[0].startswith("No difference is shown: again less expert is +0.0 points")
    assert "p = 1:" in found.verdicts[0]
    assert "the same policy under the same settings" in found.verdicts[1]
    assert "- nothing else" in printed(found)


def test_all_forms_say_the_same(runs, tmp_path):
    found = compare(runs / "random", runs / "expert")
    page = pages.write(found, [], tmp_path)
    texts = [printed(found), (tmp_path / "compare.md").read_text(), page.read_text()]
    for text in texts:
        assert found.verdicts[0].replace("<", "&lt;" if text is texts[2] else "<") in text
        assert "policy random against expert" in text
    for split in found.splits:
        assert all(split.replay in text for text in texts[1:])
    assert "<link" not in texts[2]
    assert "src=" not in texts[2]
    rows = list(csv.DictReader((tmp_path / "paired.csv").open()))
    assert [row["task"] for row in rows] == [
        "detour",
        "pick-red",
        "all 2 tasks",
        "mean of 2 tasks",
    ]
    assert int(rows[2]["both"]) == found.total.pairs.both
    assert float(rows[2]["difference, points low"]) == pytest.approx(
        100 * found.total.difference[1][0], rel=1e-5
    )


def test_runs_that_may_not_be_compared_get_counts_and_no_test(runs, tmp_path):
    found = compare(runs / "expert", runs / "late")
    pages.write(found, [], tmp_path)
    assert found.verdicts == []
    texts = [printed(found), *(path.read_text() for path in tmp_path.iterdir())]
    for text in texts:
        assert "points" not in text
        assert "McNemar" not in text
    for text in (texts[0], (tmp_path / "compare.md").read_text()):
        assert text.index("delay 0 against 2") < text.index("Counts only")


def test_without_a_shared_item_there_are_reasons_and_no_table(runs, tmp_path):
    found = compare(runs / "expert", runs / "elsewhere")
    pages.write(found, [], tmp_path)
    text = printed(found)
    assert text.startswith(
        "Not comparable:\n- seed 0 against 1\n- no clean item is recorded in both"
    )
    assert "neither" not in text
    assert sorted(path.name for path in tmp_path.iterdir()) == ["compare.md", "index.html"]


def test_harness_errors_count_as_failures_and_what_follows_without_them_is_said(runs, tmp_path):
    def break_two(record):
        if record["index"] < 1:
            record |= {"success": False, "reason": "harness_error", "error": "it died\nso it did"}
        return record

    broken = edited(runs / "expert", tmp_path / "broken", break_two)
    found = compare(runs / "expert", broken)
    assert found.total.harness_errors == 2
    assert found.total.pairs.only_first == 2
    assert f"the harness failed on 2 of {2 * EPISODES} shared items" in printed(found)
    assert found.verdicts[1].startswith("Without the 2 items that the harness failed on: ")
    assert f"of {2 * EPISODES - 2} items" in found.verdicts[1]
    assert found.splits[0].ends == ("success", "harness_error: it died")
    solved = [split for split in compare(runs / "random", broken).splits if split.solver == 1]
    assert {split.ends[1] for split in solved} == {"success"}


def test_episodes_that_are_not_recorded_are_left_out(runs, tmp_path):
    half = edited(runs / "expert", tmp_path / "half", lambda r: r if r["index"] < 3 else None)
    found = compare(half, runs / "random")
    assert found.total.pairs.total == 6
    assert f"half is unfinished: 10 of {2 * EPISODES} episodes are missing" in printed(found)


def test_films_stand_side_by_side_and_say_where_a_replay_is_not_the_record(runs, tmp_path):
    other = edited(runs / "random", tmp_path / "other", lambda record: {**record, "queries": 77})
    found = compare(other, runs / "expert")
    (shown,) = film(found, 1, tmp_path / "page")
    assert (tmp_path / "page" / shown.film).stat().st_size > 1000
    assert len(shown.remarks) == 1
    assert (
        "other did not play as recorded when played again: queries: recorded 77" in shown.remarks[0]
    )
    assert not (other / "videos").exists()
    page = pages.write(found, [shown], tmp_path / "page").read_text()
    assert f'src="{shown.film}"' in page
    assert "queries: recorded 77" in page


def test_a_film_that_cannot_be_made_is_said_at_its_item(runs, tmp_path):
    found = compare(runs / "random", runs / "expert")
    away = replace(found, runs=(replace(found.runs[0], path=tmp_path / "gone"), found.runs[1]))
    (shown,) = film(away, 1, tmp_path / "page")
    assert shown.film == ""
    assert "no film: " in shown.remarks[0]
    assert "not a run folder" in pages.markdown(away, [shown])


def test_a_run_and_itself_is_a_mistake(runs):
    with pytest.raises(UserError, match="is given twice"):
        compare(runs / "expert", runs / "random" / ".." / "expert")


def row(*counts):
    return PairedRow("task", Pairs(*counts), harness_errors=0, missing=0)


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([row(10, 0, 10, 0)], "b is better than a by 50.0 points ["),
        ([row(10, 10, 0, 0)], "a is better than b by 50.0 points ["),
        ([row(10, 5, 6, 0)], "No difference is shown: b less a is +4.8 points ["),
        ([row(10, 0, 0, 5)], "No difference is shown: b less a is +0.0 points ["),
        ([row(0, 0, 40, 60), row(0, 9, 0, 1)], "Items and tasks do not agree: b less a is +28.2"),
    ],
)
def test_a_verdict_follows_the_test(rows, said):
    found = verdict(rows, ("a", "b"))
    assert found.startswith(said)
    assert ("mean over 2 tasks" in found) == (len(rows) == 2)


def test_films_are_spread_over_tasks_and_solvers():
    splits = [
        Split(f"{task}{n}", task, "", solver, ("", ""), (0, 0), "")
        for task in ("one", "two")
        for n, solver in enumerate((0, 0, 1))
    ]
    assert [split.item for split in spread(splits, 5)] == ["one0", "two0", "one2", "two2", "one1"]


def exit_status(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["vla-bench", "compare", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        main()
    return ended.value.code


def test_the_command_line_tells_scripts_what_came_of_it(runs, monkeypatch, capsys, tmp_path):
    assert exit_status(monkeypatch, runs / "random", runs / "expert", "--out", tmp_path) == 0
    assert "expert is better than random" in capsys.readouterr().out
    assert (tmp_path / "index.html").is_file()
    assert exit_status(monkeypatch, runs / "expert", runs / "late") == 6
    assert "Not comparable, though" in capsys.readouterr().out.splitlines()[0]
    for arguments, reason in (
        ((runs / "expert", tmp_path / "none"), "is not a run folder"),
        ((runs / "expert", runs / "random", "--films", "1"), "add --out DIR"),
        (
            (runs / "expert", runs / "random", "--out", runs / "late" / "items.jsonl"),
            "cannot write",
        ),
    ):
        assert exit_status(monkeypatch, *arguments) == 1
        error = capsys.readouterr().err
        assert reason in error
        assert len(error.splitlines()) == 1
