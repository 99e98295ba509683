import json

import pytest

from vla_bench import RunFolder, RunSpec, execute, floor, plan_run
from vla_bench.errors import UserError
from vla_bench.reports.statistics.intervals import wilson

ARGUMENTS = {"policy": "drunkard", "suite": "line", "episodes": 5, "trials": 2}


@pytest.fixture
def run(tmp_path):
    execute(plan_run(RunSpec(**ARGUMENTS, out=tmp_path / "run", perturbations=["action-noise:1"])))
    return tmp_path / "run"


def rewrite(run, change, count):
    """Changes the first records of a run, as if something had been otherwise then."""
    log = run / "episodes.jsonl"
    records = [json.loads(line) for line in log.read_text().splitlines()]
    changed = [{**record, **change(record)} for record in records[:count]] + records[count:]
    log.write_text("".join(json.dumps(record) + "\n" for record in changed))


def test_the_same_run_twice_has_a_floor_of_zero(run):
    planned = floor.plan(run)
    found = floor.measure(run, planned)
    assert planned.folder.path == run.with_name("run-aa")
    assert (found.identical, found.pairs.total, found.pairs.discordant) == (40, 40, 0)
    assert found.lines()[-1] == "bit-identical: the floor is 0 of 40 items, at most 8.8 %"
    assert planned.folder.manifest.identity() == RunFolder(run).manifest.identity()


def test_what_differs_is_counted(run):
    rewrite(run, lambda record: {"success": not record["success"], "states": "other"}, 3)
    found = floor.measure(run, floor.plan(run))
    assert (found.identical, found.pairs.discordant) == (37, 3)
    assert found.fields == {"success": 3, "states": 3}
    assert found.bound == wilson(3, 40)[1]
    assert "below 19.9 points cannot be told from noise" in found.lines()[-1]


def test_equal_success_is_not_enough_for_bit_identical(run):
    rewrite(run, lambda record: {"actions": "other"}, 1)
    found = floor.measure(run, floor.plan(run))
    assert (found.identical, found.pairs.discordant) == (39, 0)
    assert "cannot be told from noise" in found.lines()[-1]


def test_only_the_first_episodes_and_then_the_rest(run):
    first = floor.measure(run, floor.plan(run, episodes=2))
    assert first.pairs.total == 16
    log = run.with_name("run-aa") / "episodes.jsonl"
    before = log.read_text()
    assert floor.measure(run, floor.plan(run)).pairs.total == 40
    assert log.read_text().startswith(before)


def test_a_stopped_second_run_goes_on(run):
    records = []
    with pytest.raises(KeyboardInterrupt):
        floor.measure(run, floor.plan(run), records.append, stopping=lambda: len(records) >= 7)
    assert len(RunFolder(run.with_name("run-aa")).records()) == 7
    assert floor.measure(run, floor.plan(run)).identical == 40


def test_harness_errors_are_shown(run, vla_bench):
    rewrite(run, lambda record: {"reason": "harness_error", "success": False}, 4)
    found = vla_bench("aa", run, "--episodes", 2, TOY_CRASH="always")
    assert found.returncode == 3
    assert "harness errors, counted as failures: 12" in found.stdout
    assert "no episode of them: 4" in found.stdout


def test_mistakes_are_said(run, tmp_path, vla_bench):
    with pytest.raises(UserError, match="the second run needs a folder of its own"):
        floor.plan(run, out=run)
    with pytest.raises(UserError, match="expected a number of episodes"):
        floor.plan(run, episodes=0)
    (run / "episodes.jsonl").unlink()
    with pytest.raises(UserError, match="holds no episode; finish it"):
        floor.plan(run)
    refused = vla_bench("aa", "nowhere")
    assert refused.returncode == 1
    assert "is not a run folder" in refused.stderr
    assert len(refused.stderr.splitlines()) == 1


def test_another_engine_is_refused(run):
    manifest = json.loads((run / "manifest.json").read_text())
    manifest["suite"]["engine"] = {"numpy": "0.1"}
    manifest["versions"]["numpy"] = "0.1"
    (run / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(UserError, match=r"pinned to numpy 0\.1, found"):
        floor.plan(run)
