"""A submission is spoilt in one place at a time: the check names the place, what it expects and finds."""

from __future__ import annotations

import json

import pytest

from tests.reports.leaderboard.conftest import play
from vla_bench.cli import main
from vla_bench.reports.leaderboard.checks.check import check
from vla_bench.reports.leaderboard.checks.outcomes import queries
from vla_bench.reports.published.numbers import COLUMNS


def change(path, line, **fields):
    """Changes fields of one line, counted from 1, of a file of JSON lines."""
    lines = path.read_text().splitlines()
    lines[line - 1] = json.dumps({**json.loads(lines[line - 1]), **fields})
    path.write_text("\n".join(lines) + "\n")


def change_manifest(folder, *keys, to):
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text())
    place = manifest
    for key in keys[:-1]:
        place = place[key]
    place[keys[-1]] = to
    path.write_text(json.dumps(manifest))


def only(folder, results):
    [problem] = check(folder, results).problems
    return problem


def test_a_run_as_it_was_made_passes(theirs, results):
    found = check(theirs, results)
    assert (found.problems, found.unchecked) == ([], [])
    assert found.checked == "20 items, 20 records"


@pytest.mark.parametrize(
    "spec",
    [
        {"delay": 3, "horizon": 2},
        {"perturbations": ["action-noise:2", "push-base:1"], "horizon": 5},
        {"seed": 3, "batch": 4, "horizon": 7},
    ],
)
def test_other_settings_pass_too(tmp_path, spec):
    play(tmp_path / "runs" / "run", "random", episodes=1, trials=1, **spec)
    assert check(tmp_path / "runs" / "run", tmp_path).problems == []


@pytest.mark.parametrize(
    ("field", "value", "problem"),
    [
        (
            "steps",
            "80",
            "episodes.jsonl, line 3: steps: Input should be a valid integer, found '80'",
        ),
        ("flukes", 1, "line 3: flukes: Extra inputs are not permitted"),
        ("item", "0" * 16, "line 3: item: expected one of items.jsonl, found 0000"),
        ("seed", 7, "line 3: seed: expected "),
        ("initial_state", {"world": 1}, "line 3: initial_state: expected {"),
        ("trial", 5, "line 3: trial: expected 1 of the item, found 5"),
        ("policy", "expert", "line 3: policy: expected hold of the manifest, found expert"),
        ("horizon", 3, "line 3: horizon: expected 8 of the manifest, found 3"),
        ("success", True, "line 3: success: expected False with reason timeout"),
        ("steps", 70, "line 3: steps: expected 80 with timeout, found 70"),
        ("steps", 81, "line 3: steps: expected at most 80, found 81"),
        ("first_success", 80, "line 3: first_success: 80 of 80 steps: a latched outcome"),
        ("queries", 79, "line 3: queries: expected 10 in 80 steps at H=8, found 79"),
        ("error", "oh", "line 3: error: expected none with timeout"),
        ("probe", "", "line 3: probe: expected the digest of the settled world, found none"),
        ("probe", "0" * 16, "another world"),
    ],
)
def test_a_record_that_cannot_be(theirs, results, field, value, problem):
    change(theirs / "episodes.jsonl", 3, **{field: value})
    assert any(problem in line for line in check(theirs, results).problems)


def test_a_line_that_is_no_json(theirs, results):
    path = theirs / "episodes.jsonl"
    path.write_text(path.read_text()[:-20])
    assert "episodes.jsonl, line 20: Invalid JSON" in only(theirs, results)


def test_records_missing_and_twice(theirs, results):
    path = theirs / "episodes.jsonl"
    lines = path.read_text().splitlines(True)
    path.write_text("".join([lines[0], *lines[:-2]]))
    twice, missing = check(theirs, results).problems
    assert "line 2: item" in twice
    assert "expected one record, found another of detour/0/0" in twice
    assert "expected a record of each of 20 items, found none of 2" in missing


def test_a_harness_error_may_be_played_again(theirs, results):
    path = theirs / "episodes.jsonl"
    lines = path.read_text().splitlines(True)
    failed = json.loads(lines[0]) | {"reason": "harness_error", "error": "killed", "success": False}
    failed |= {"steps": 0, "queries": 0, "probe": "", "states": "", "actions": "", "status": {}}
    path.write_text(json.dumps(failed | {"first_success": None}) + "\n" + "".join(lines))
    assert check(theirs, results).problems == []


def test_items_that_are_not_those_of_the_manifest_or_of_the_suite(theirs, results):
    change(theirs / "items.jsonl", 1, seed=1)
    problems = check(theirs, results).problems
    assert any("manifest.json: items.detour: expected " in line for line in problems)
    assert any("items.jsonl: detour/0/0: seed: expected " in line for line in problems)


def test_another_initial_state_than_the_suite_s(theirs, results):
    first = json.loads((theirs / "items.jsonl").read_text().splitlines()[0])["initial_state"]
    change(theirs / "items.jsonl", 1, initial_state={**first, "split": "train"})
    problems = check(theirs, results).problems
    assert any("detour/0/0: initial_state: expected {'split': 'val'" in line for line in problems)


def test_picked_episodes(theirs, results):
    path = theirs / "items.jsonl"
    path.write_text("".join(path.read_text().splitlines(True)[1:]))
    problems = check(theirs, results).problems
    assert any("expected the first 2 episodes of 2 trials" in line for line in problems)


def test_another_protocol_engine_or_an_allowed_mismatch(theirs, results):
    change_manifest(theirs, "suite", "max_steps", to=90)
    change_manifest(theirs, "suite", "options", "push", to=0.0)
    change_manifest(theirs, "suite", "engine", to={"numpy": "1.0"})
    change_manifest(theirs, "mismatches", to=["cameras differ"])
    problems = check(theirs, results).problems
    assert "manifest.json: suite.max_steps: 90 against 80 on the card here" in problems
    assert "manifest.json: suite.options.push: 0.0 against 0.08 on the card here" in problems
    assert any("versions.numpy: expected 1.0, as pinned, found " in line for line in problems)
    assert "manifest.json: mismatches: expected none, found cameras differ" in problems


def test_a_suite_that_is_not_here_and_one_that_is_a_path(theirs, results, tmp_path):
    change_manifest(theirs, "suite", "name", to="macro")
    assert any(
        "no suite named 'macro' here; did you mean 'micro'" in p
        for p in check(theirs, results).problems
    )
    change_manifest(theirs, "suite", "name", to=str(tmp_path / "evil.toml"))
    assert any("no suite named" in p for p in check(theirs, results).problems)


def test_a_policy_s_name_is_no_path(theirs, results):
    change_manifest(theirs, "policy", "name", to="../../hold")
    assert any("policy.name: expected letters" in line for line in check(theirs, results).problems)


def test_what_cannot_be_checked_is_said(theirs, tmp_path, monkeypatch):
    from vla_bench.errors import UserError
    from vla_bench.suites.micro.suite import MicroSuite

    def lacking(self):
        raise UserError("micro's files are not here")

    monkeypatch.setattr(MicroSuite, "prepare", lacking)
    found = check(theirs, tmp_path)
    assert found.problems == []
    assert "initial states against micro's own: micro's files are not here" in found.unchecked
    assert any(line.startswith("world probes of 20 of 20 items") for line in found.unchecked)


def test_an_empty_folder_lacks_everything(tmp_path):
    assert len(check(tmp_path, tmp_path).problems) == 3


CLAIMS = {
    "detour,0,4,0.0": None,
    "detour,1,4,25.0": "successes of detour: expected 0 by the records, found '1'",
    "detour,0,5,0.0": "episodes of detour: expected 4 by the records, found '5'",
    "detour,0,4,33.3": "rate of detour: 33.3 % is no multiple of 1/4",
    "detour,0,4,50": "rate of detour: expected 0 % by the records, found 50 %",
    "detour,0,4,much": "rate of detour: expected a percentage, found 'much'",
    "detours,0,4,0.0": "task: expected a task with records or mean, found 'detours'",
    "mean,0,20,0.0": None,
    "mean,,,12.5": "rate of mean: expected 0.0 % by the records, found 12.5 %",
}


@pytest.mark.parametrize(("line", "problem"), CLAIMS.items())
def test_claims_follow_from_the_records(theirs, results, line, problem):
    (theirs / "claims.csv").write_text(f"task,successes,episodes,rate\n{line}\n")
    problems = check(theirs, results).problems
    if problem is None:
        assert problems == []
    else:
        assert any(f"claims.csv, line 2: {problem}" in found for found in problems)


def test_quoted_numbers_are_checked_too(results, tmp_path):
    assert "Theirs, micro average: the paper prints 95.0" in only(
        results / "published" / "paper.csv", results
    )
    path = tmp_path / "other.csv"
    path.write_text(
        ",".join(COLUMNS) + "\nPaper,Table 1,X,micro,detour,,success-rate,%,43.9,,,50,,paper,\n"
    )
    assert "no number of successes in 50 episodes" in only(path, results)
    path = tmp_path / "headless.csv"
    path.write_text("a,b\n")
    assert "expected the columns" in only(path, results)


@pytest.mark.parametrize(
    ("steps", "horizon", "delay", "expected"),
    [(80, 1, 0, 80), (81, 8, 0, 11), (80, 8, 0, 10), (12, 4, 4, 1), (13, 4, 4, 2)],
)
def test_queries_follow_from_steps_and_horizon(steps, horizon, delay, expected):
    assert queries(steps, horizon, 16, delay) == expected


def test_the_command_line_says_so(theirs, results, capsys, monkeypatch):
    def exit_status(*arguments):
        monkeypatch.setattr("sys.argv", ["vla-bench", "leaderboard", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            main()
        return end.value.code

    assert exit_status("check", theirs, "--results", results) == 0
    change(theirs / "episodes.jsonl", 3, queries=79)
    assert exit_status("check", theirs, "--results", results) == 1
    said = capsys.readouterr().out
    assert "problem: episodes.jsonl, line 3: queries: expected 10" in said
    assert "20 items, 20 records, 1 problems" in said
    assert exit_status("check", theirs / "nothing", "--results", results) == 1
    out = theirs.parent / "site"
    assert exit_status("build", "--results", results, "--out", out) == 0
    assert (out / "index.html").is_file()
