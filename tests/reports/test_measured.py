from pathlib import Path

import pytest

from vla_bench.errors import UserError
from vla_bench.records import RunFolder
from vla_bench.reports.comparable import differences, shared_items
from vla_bench.reports.measured import MeasuredRun, read_run
from vla_bench.runs import RunSpec, execute, plan_run


def played(out: Path, policy: str = "expert", **spec) -> MeasuredRun:
    execute(plan_run(RunSpec(policy, "micro", episodes=2, trials=1, out=out, **spec)))
    return read_run(out)


@pytest.fixture(scope="module")
def expert(tmp_path_factory) -> MeasuredRun:
    return played(tmp_path_factory.mktemp("runs") / "expert", perturbations=["action-noise:1"])


def test_a_frame_says_what_the_records_say(expert) -> None:
    records = {record.item: record for record in RunFolder(expert.path).records()}
    assert list(expert.episodes.index) == [item.digest for item in RunFolder(expert.path).items()]
    for digest, row in expert.episodes.iterrows():
        record = records[digest]
        assert (row.task, row.trial, row["index"]) == (record.task, record.trial, record.index)
        assert (row.success, row.reason, row.steps) == (record.success, record.reason, record.steps)
        assert (row.arm, row.probe) == (record.perturbation, record.probe)
    assert set(expert.clean["arm"]) == {"none"}
    assert len(expert.clean) * 2 == len(expert.episodes)


def test_an_episode_without_a_record_is_there_and_missing(expert, tmp_path) -> None:
    folder = RunFolder(tmp_path)
    for name in ("manifest.json", "items.jsonl", "episodes.jsonl"):
        (tmp_path / name).write_text((expert.path / name).read_text())
    folder.episodes.write_text("".join(folder.episodes.read_text().splitlines(True)[1:]))
    run = read_run(tmp_path)
    assert run.missing == 1
    assert run.episodes["reason"].iloc[0] == "missing"
    assert not run.episodes["success"].iloc[0]


def test_runs_that_differ_in_the_policy_alone_are_comparable(expert, tmp_path) -> None:
    found = differences(expert, played(tmp_path, "random"))
    assert found.comparable
    assert "policy expert against random" in found.remarks


def test_other_protocols_are_refused_by_name(expert, tmp_path) -> None:
    found = differences(expert, played(tmp_path, delay=2))
    assert found.refusals == ["delay 0 against 2"]


def test_other_seeds_share_no_item(expert, tmp_path) -> None:
    other = played(tmp_path, seed=1)
    assert shared_items(expert, other) == []
    assert "no clean item is recorded in both" in differences(expert, other).refusals


def test_other_worlds_are_refused(expert, tmp_path) -> None:
    for name in ("manifest.json", "items.jsonl", "episodes.jsonl"):
        (tmp_path / name).write_text((expert.path / name).read_text())
    probe = expert.clean["probe"].iloc[0]
    text = (tmp_path / "episodes.jsonl").read_text()
    (tmp_path / "episodes.jsonl").write_text(text.replace(probe, "0" * 16))
    refusals = differences(expert, read_run(tmp_path)).refusals
    shared = len(expert.clean)
    assert refusals == [f"other worlds: the probes differ on 1 of {shared} shared items"]


def test_a_folder_without_a_run_is_one_line(tmp_path) -> None:
    with pytest.raises(UserError, match="not a run folder"):
        read_run(tmp_path)
