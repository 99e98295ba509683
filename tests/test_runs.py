import dataclasses
import json
import os
import random
import resource
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from tests.conftest import TOY
from vla_bench import RunFolder, RunSpec, execute, plan_run
from vla_bench.errors import MismatchError, UserError
from vla_bench.execution.inline import InlineExecutor
from vla_bench.registry import make_policy
from vla_bench.replay import replay_item
from vla_bench.reports.measured import read_run
from vla_bench.reports.success import success_rows
from vla_bench.settings import Settings

RUN = ("run", "--policy", "walker", "--suite", "line", "--episodes", "6", "--trials", "1")


def spec(out, **changes):
    return RunSpec(**{"policy": "walker", "suite": "line", "episodes": 6, "out": out, **changes})


def outcomes(records):
    return {record.item: record.outcome() for record in records}


def test_same_command_twice_and_in_shuffled_order(tmp_path):
    first = execute(plan_run(spec(tmp_path / "a")))
    second = execute(plan_run(spec(tmp_path / "b")))
    assert outcomes(first) == outcomes(second)
    planned = plan_run(spec(tmp_path / "c"))
    policy = make_policy(planned.manifest.policy, planned.manifest.suite)
    settings = Settings.of(planned.manifest)
    items = random.Random(0).sample(planned.items, len(planned.items))
    shuffled = list(InlineExecutor(planned.suite, policy, settings, planned.folder).run(items))
    assert outcomes(shuffled) == outcomes(first)
    assert {r.success for r in first} == {True, False}


def test_running_again_plays_nothing_again(tmp_path):
    execute(plan_run(spec(tmp_path)))
    before = (tmp_path / "episodes.jsonl").read_bytes()
    assert len(execute(plan_run(spec(tmp_path)))) == 24
    assert (tmp_path / "episodes.jsonl").read_bytes() == before


def test_a_run_can_grow(tmp_path):
    execute(plan_run(spec(tmp_path, episodes=2, tasks=["go-on"])))
    assert len(execute(plan_run(spec(tmp_path)))) == 24
    assert len(RunFolder(tmp_path).records()) == 24


def test_a_smaller_request_drops_nothing(tmp_path):
    execute(plan_run(spec(tmp_path)))
    before = {name: (tmp_path / name).read_bytes() for name in ("items.jsonl", "manifest.json")}
    asked = execute(plan_run(spec(tmp_path, episodes=2, trials=1, tasks=["go-on"])))
    assert len(asked) == 2
    assert {name: (tmp_path / name).read_bytes() for name in before} == before
    rows = success_rows(read_run(tmp_path))
    assert [(r.task, r.episodes, r.missing) for r in rows] == [
        ("go-right", 12, 0),
        ("go-on", 12, 0),
    ]


def test_a_run_does_not_go_on_under_another_engine(tmp_path):
    card = (TOY / "suites" / "line.toml").read_text()
    (tmp_path / "line.toml").write_text(
        card.replace("[engine]", f'[engine]\nnumpy = "{np.__version__}"').replace(
            "../toy.py", str(TOY / "toy.py")
        )
    )
    planned = plan_run(spec(tmp_path / "r", suite=str(tmp_path / "line.toml")))
    execute(planned)
    versions = {**planned.manifest.versions, "numpy": "0.1"}
    moved = planned.manifest.model_copy(update={"versions": versions})
    with pytest.raises(UserError, match=r"engine .*, now \{'numpy': '0.1'\}"):
        execute(dataclasses.replace(planned, manifest=moved))


def test_a_run_does_not_go_on_with_other_initial_states(tmp_path):
    planned = plan_run(spec(tmp_path))
    execute(planned)
    moved = planned.items[3].model_copy(update={"initial_state": {"lane": "lane-9", "distance": 9}})
    items = [moved if item == planned.items[3] else item for item in planned.items]
    with pytest.raises(UserError, match="go-right 0/3 is another episode than when"):
        execute(dataclasses.replace(planned, items=items))
    assert len(RunFolder(tmp_path).records()) == 24


@pytest.mark.parametrize("pause", [0.35, 0.6, 0.9])
def test_killed_and_run_again(tmp_path, vla_bench, pause):
    whole = vla_bench(*RUN, "--out", tmp_path / "whole")
    assert whole.returncode == 0, whole.stderr
    command = [sys.executable, "-m", "vla_bench", *RUN, "--out", str(tmp_path / "killed")]
    process = subprocess.Popen(
        command, env={**os.environ, "TOY_PAUSE": "0.1"}, stdout=subprocess.DEVNULL
    )
    log = tmp_path / "killed" / "episodes.jsonl"
    while not log.exists():
        time.sleep(0.01)
    time.sleep(pause)
    process.send_signal(signal.SIGKILL)
    process.wait()
    played = len(RunFolder(tmp_path / "killed").records())
    assert 0 < played < 12
    again = vla_bench(*RUN, "--out", tmp_path / "killed")
    assert again.returncode == 0, again.stderr
    assert "12/12" in again.stdout
    lines = log.read_text().splitlines()
    assert len(lines) == len({json.loads(line)["item"] for line in lines}) == 12
    assert outcomes(RunFolder(tmp_path / "killed").records()) == outcomes(
        RunFolder(tmp_path / "whole").records()
    )


def test_a_truncated_last_line(tmp_path, vla_bench):
    vla_bench(*RUN, "--out", tmp_path / "r")
    log = tmp_path / "r" / "episodes.jsonl"
    whole = log.read_bytes()
    log.write_bytes(whole[:-40])
    report = vla_bench("report", tmp_path / "r")
    assert report.returncode == 1
    assert "line 12 is cut short or damaged; the 11 records before it are intact" in report.stderr
    assert len(report.stderr.splitlines()) == 1
    again = vla_bench(*RUN, "--out", tmp_path / "r")
    assert again.returncode == 0
    assert log.read_bytes()[: len(whole) - 400] == whole[: len(whole) - 400]
    assert len(log.read_text().splitlines()) == 12


def test_two_runs_into_one_folder(tmp_path, vla_bench):
    with RunFolder(tmp_path / "r"):
        second = vla_bench(*RUN, "--out", tmp_path / "r")
    assert second.returncode == 1
    assert "another run is writing to" in second.stderr


def test_another_run_in_the_folder(tmp_path):
    execute(plan_run(spec(tmp_path, episodes=1)))
    with pytest.raises(UserError, match=r"holds another run \(seed 0, now 1\)"):
        execute(plan_run(spec(tmp_path, episodes=1, seed=1)))


def test_a_folder_that_cannot_be_written(vla_bench):
    # /proc refuses new folders to everybody, root included.
    refused = vla_bench(*RUN, "--out", "/proc/results")
    assert refused.returncode == 1
    assert "cannot write to /proc/results" in refused.stderr


def test_a_full_disk_keeps_earlier_records(tmp_path, vla_bench):
    vla_bench(*RUN, "--out", tmp_path / "r", "--tasks", "go-right")
    log = tmp_path / "r" / "episodes.jsonl"
    before = log.read_bytes()
    limit = len(before) + 100  # a record is longer: the write stops in its middle
    full = subprocess.run(
        [sys.executable, "-m", "vla_bench", *RUN, "--out", str(tmp_path / "r")],
        capture_output=True,
        text=True,
        preexec_fn=lambda: (
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN),
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
        ),
    )
    assert full.returncode == 1
    assert "earlier records are intact" in full.stderr
    assert "Traceback" not in full.stderr
    assert log.read_bytes() == before
    assert vla_bench(*RUN, "--out", tmp_path / "r").returncode == 0


def test_a_crashing_simulator_is_a_harness_error_and_is_retried(tmp_path, vla_bench):
    crashed = vla_bench(*RUN, "--out", tmp_path, TOY_CRASH="always")
    assert crashed.returncode == 3
    records = RunFolder(tmp_path).records()
    assert {(r.reason, r.success) for r in records} == {("harness_error", False)}
    assert "the simulator fell over" in records[0].error
    assert "0/6" in crashed.stdout  # they stay in the denominator
    mended = vla_bench(*RUN, "--out", tmp_path)
    assert mended.returncode == 0
    assert len(RunFolder(tmp_path).records()) == 12


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("--policy", "walkr"), "no policy named 'walkr'; did you mean 'walker'?"),
        (("--suite", "lin"), "no suite named 'lin'; did you mean 'line'?"),
        (("--tasks", "go-rigth"), "no task 'go-rigth' in line; did you mean 'go-right'?"),
        (("--horizon", "0"), "--horizon 0: policy walker plans chunks of 4"),
        (("--horizon", "5"), "use --horizon 1 to 4"),
        (("--batch", "0"), "--batch 0: expected a number of episodes; use --batch 1"),
        (("--weights", "best"), "policy walker takes no weights"),
        (("--input-control", "blank"), "Invalid value for '--input-control'"),
        (("--set", "skil=1"), "did you mean 'skill'?"),
        (("--episodes", "many"), "Invalid value for '--episodes'"),
        (("--workers", "-1"), "--workers -1: expected a number of processes"),
        (("--ray-address", "auto"), "says where workers run; add --workers 2"),
        (("--workers", "1", "--step-timeout", "0"), "--step-timeout 0: expected seconds"),
        (("--replicas", "1"), "policy servers need workers; add --workers 2"),
        (("--workers", "1", "--replicas", "-1"), "--replicas -1: expected a number"),
        (("--workers", "1", "--ray-address", "127.0.0.1:1"), "no Ray cluster at 127.0.0.1:1"),
    ],
)
def test_a_mistake_is_one_line_and_runs_nothing(tmp_path, vla_bench, change, said):
    failed = vla_bench(*RUN, "--out", tmp_path / "r", *change)
    assert failed.returncode == 1
    assert said in failed.stderr
    assert failed.stderr.startswith("error: ")
    assert len(failed.stderr.splitlines()) == 1
    assert not (tmp_path / "r" / "episodes.jsonl").exists()


def test_mismatches_are_found_before_the_first_episode(tmp_path):
    with pytest.raises(MismatchError, match="reads camera 'front', ms-hab has no such camera"):
        plan_run(spec(tmp_path, suite="ms-hab"))


def test_interrupted(tmp_path):
    command = [sys.executable, "-m", "vla_bench", *RUN, "--out", str(tmp_path)]
    environment = {**os.environ, "TOY_PAUSE": "0.3"}
    process = subprocess.Popen(
        command,
        env=environment,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        # A test run started in the background of a shell inherits an ignored SIGINT.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    while not (tmp_path / "episodes.jsonl").exists():
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate()
    assert process.returncode == 130
    assert "run the same command again" in stderr
    assert "Traceback" not in stderr


def test_videos_of_failures_only(tmp_path):
    records = execute(plan_run(spec(tmp_path, trials=1, video="failures")))
    failed = {r.item for r in records if not r.success}
    assert failed
    films = {path.stem.rpartition("_")[2] for path in (tmp_path / "videos").iterdir()}
    assert films == failed


def test_replay_agrees_with_the_record(tmp_path, vla_bench):
    vla_bench(*RUN, "--out", tmp_path)
    replayed = vla_bench("replay", tmp_path, "go-on/0/3")
    assert replayed.returncode == 0, replayed.stderr
    assert "as recorded" in replayed.stdout
    assert next((tmp_path / "videos").iterdir()).stat().st_size > 500
    unknown = vla_bench("replay", tmp_path, "go-on/0/33")
    assert unknown.returncode == 1
    assert "did you mean 'go-on/0/3'" in unknown.stderr


@pytest.mark.parametrize("change", [{"batch": 2}, {"input_control": "blank-images"}])
def test_batch_and_input_control_are_part_of_what_a_run_is(tmp_path, change, monkeypatch):
    monkeypatch.chdir(tmp_path)
    plain, changed = plan_run(spec(None)), plan_run(spec(None, **change))
    assert plain.folder.path != changed.folder.path
    assert [i.digest for i in plain.items] == [i.digest for i in changed.items]
    execute(plain)
    name = next(iter(change)).replace("_", " ")
    with pytest.raises(UserError, match=rf"holds another run \({name} .*, now "):
        execute(plan_run(spec(plain.folder.path, **change)))


PREPARED = """
from vla_bench import Policy, UserError
from vla_bench.cards import PolicyInputs
import numpy as np

class Prepared(Policy):
    @classmethod
    def prepare(cls, card, suite):
        if card.inputs.state:
            raise UserError("prepared twice")
        weights = card.options["weights"]
        if weights == "none":
            raise UserError(f"no checkpoint at {weights}")
        length = int(weights)
        inputs = PolicyInputs(state={"position": suite.state["position"]})
        return card.model_copy(update={"chunk_length": length, "horizon": 3, "inputs": inputs})

    def plan(self, observations):
        assert all(o.state["position"].shape == (1,) for o in observations)
        return np.ones((len(observations), self.card.chunk_length, 2), np.float32)
"""


@pytest.fixture
def prepared(tmp_path):
    (tmp_path / "prepared.py").write_text(PREPARED)
    (tmp_path / "prepared.toml").write_text(
        'version = 1\nadapter = "./prepared.py:Prepared"\ndescription = "."\n'
        'chunk_length = 1\nhorizon = 1\n[options]\nweights = "5"\n'
    )
    return str(tmp_path / "prepared.toml")


def test_a_policy_completes_its_card_once_before_anything_is_checked(tmp_path, prepared):
    command = {"policy": prepared, "tasks": ["go-on"], "episodes": 2, "trials": 1}
    run = plan_run(spec(tmp_path / "r", **command, horizon=4))  # beyond the card's own chunk_length
    card = run.manifest.policy
    assert (card.chunk_length, card.horizon, card.inputs.state) == (5, 3, {"position": 1})
    assert {r.reason for r in execute(run)} == {"success"}
    assert (
        len(execute(plan_run(spec(tmp_path / "r", **{**command, "episodes": 3}, horizon=4)))) == 3
    )
    assert replay_item(tmp_path / "r", "go-on/0/1").differences == []
    with pytest.raises(UserError, match="holds another run"):
        execute(plan_run(spec(tmp_path / "r", **command, horizon=4, weights="6")))


@pytest.mark.parametrize(
    ("weights", "said"),
    [("none", "no checkpoint at none"), ("2", "horizon 3 is beyond chunk_length 2")],
)
def test_a_card_that_cannot_be_completed_runs_nothing(tmp_path, prepared, weights, said):
    with pytest.raises(UserError, match=said):
        plan_run(spec(tmp_path / "r", policy=prepared, weights=weights))
    assert not (tmp_path / "r").exists()


def test_weights_are_short_for_an_option(tmp_path, prepared):
    cards = [
        plan_run(spec(tmp_path, policy=prepared, **change)).manifest.policy
        for change in ({"weights": "7"}, {"options": {"weights": "7"}})
    ]
    assert cards[0] == cards[1]
    assert cards[0].options["weights"] == "7"


def test_a_record_of_an_older_version_can_be_replayed(tmp_path):
    execute(plan_run(spec(tmp_path, episodes=1)))
    log = tmp_path / "episodes.jsonl"
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert all(line.pop("status") for line in lines)
    log.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert replay_item(tmp_path, "go-on/0/0").differences == []
