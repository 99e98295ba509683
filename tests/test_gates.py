from collections import Counter

import pytest

from tests.conftest import TOY
from vla_bench import RunFolder, RunSpec, execute, gates, plan_run
from vla_bench.errors import UserError
from vla_bench.reports.statistics.sequential import Verdict


@pytest.fixture(scope="module")
def baseline(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VLA_BENCH_PATH", str(TOY))
        out = tmp_path_factory.mktemp("gate") / "base"
        execute(plan_run(RunSpec("walker", "line", out=out, perturbations=["action-noise:1"])))
    return out


def plan(baseline, tmp_path, skill, margin=0.1):
    options = {"skill": str(skill)}
    return gates.plan(
        baseline, "walker", options=options, margin=margin, out=tmp_path / "candidate"
    )


def test_the_same_policy_passes_early(baseline, tmp_path):
    look = gates.play(plan(baseline, tmp_path, 0.7))
    assert look.verdict is Verdict.not_worse
    assert (look.pairs.discordant, look.pairs.total, look.items) == (0, 60, 200)


def test_a_worse_policy_fails_early_and_its_run_is_not_a_whole_one(baseline, tmp_path, vla_bench):
    look = gates.play(plan(baseline, tmp_path, 0.2))
    assert look.verdict is Verdict.worse
    played = look.pairs.total
    assert played < 100
    folder = RunFolder(tmp_path / "candidate")
    assert (len(folder.items()), len(folder.records())) == (200, played)
    report = vla_bench("report", tmp_path / "candidate")
    assert report.returncode == 3
    assert str(100 - played // 2) in report.stdout


def test_nothing_settled_is_said_with_an_interval(baseline, tmp_path):
    look = gates.play(plan(baseline, tmp_path, 0.7, margin=0.0))
    assert look.verdict is Verdict.undecided
    assert look.pairs.total == 200
    assert "differs by +0.0 points [-" in look.lines()[-1]
    assert len(RunFolder(tmp_path / "candidate").records()) == 200


def test_rounds_are_random_balanced_and_always_the_same(baseline, tmp_path):
    gate = plan(baseline, tmp_path, 0.7)
    rounds = gate.rounds()
    assert rounds == plan(baseline, tmp_path, 0.7).rounds()
    assert all(Counter(i.task for i in r) == {"go-right": 10, "go-on": 10} for r in rounds)
    items = [item for of_round in rounds for item in of_round]
    assert sorted(i.digest for i in items) == sorted(i.digest for i in gate.candidate.items)
    assert {i.perturbation for i in items} == {"none"}
    assert {i.trial for i in rounds[0]} == {0, 1}


def test_a_stopped_gate_goes_on_to_the_same_end(baseline, tmp_path):
    whole = gates.play(plan(baseline, tmp_path, 0.5))
    records = []
    again = tmp_path / "again"
    with pytest.raises(KeyboardInterrupt):
        gates.play(plan(baseline, again, 0.5), records.append, stopping=lambda: len(records) >= 13)
    assert len(RunFolder(again / "candidate").records()) == 13
    assert gates.play(plan(baseline, again, 0.5)) == whole


def test_exit_statuses(baseline, tmp_path, vla_bench):
    command = ("gate", baseline, "--policy", "walker", "--out")
    worse = vla_bench(*command, tmp_path / "b", "--set", "skill=0.1")
    assert worse.returncode == 4
    assert "FAIL" in worse.stdout
    undecided = vla_bench(*command, tmp_path / "c", "--margin", 0)
    assert undecided.returncode == 5
    assert "UNDECIDED" in undecided.stdout
    broken = vla_bench(*command, tmp_path / "d", TOY_CRASH="always")
    assert broken.returncode == 3
    assert "20 harness errors: run the same command" in broken.stdout
    passed = vla_bench(*command, tmp_path / "d")
    assert passed.returncode == 0, passed.stderr
    assert "60 of 200 items played" in passed.stdout
    assert "PASS: the candidate is not worse by 10 points or more" in passed.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"margin": 1.0}, "--margin 100: expected percentage points"),
        ({"options": {"suite.friction": "1"}}, "leave it out"),
        ({"horizon": 9}, "use --horizon 1 to 4"),
        ({"weights": "x"}, "takes no weights"),
    ],
)
def test_mistakes_are_said(baseline, arguments, message):
    with pytest.raises(UserError, match=message):
        gates.plan(baseline, "walker", **arguments)


def test_an_unfinished_baseline_is_refused(tmp_path, vla_bench):
    execute(plan_run(RunSpec("walker", "line", episodes=2, out=tmp_path / "r")))
    log = tmp_path / "r" / "episodes.jsonl"
    log.write_text("".join(log.read_text().splitlines(keepends=True)[:3]))
    refused = vla_bench("gate", "r", "--policy", "walker")
    assert refused.returncode == 1
    assert "r holds 3 of 8 episodes" in refused.stderr
    assert len(refused.stderr.splitlines()) == 1
