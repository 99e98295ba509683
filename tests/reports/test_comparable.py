from dataclasses import replace

import pytest

from vla_bench.reports.comparable import differences
from vla_bench.reports.measured import read_run
from vla_bench.runs import RunSpec, execute, plan_run


@pytest.fixture(scope="module")
def expert(tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "expert"
    execute(plan_run(RunSpec("expert", "micro", tasks=["detour"], episodes=20, trials=1, out=out)))
    return read_run(out)


def with_suite(run, **changes):
    """The run as it would be under another suite's card."""
    suite = run.manifest.suite.model_copy(update=changes)
    return replace(run, manifest=run.manifest.model_copy(update={"suite": suite}))


def with_episodes(run, rows, **values):
    frame = run.episodes.copy()
    for name, value in values.items():
        frame.loc[frame.index[list(rows)], name] = value
    return replace(run, episodes=frame)


@pytest.mark.parametrize(
    ("changes", "refusal"),
    [
        ({"outcome": "final"}, "suite outcome: latched against final"),
        ({"version": 7}, "suite version: 1 against 7"),
        ({"max_steps": 11}, "task detour steps: {} against 11"),
        ({"options": {"split": "train"}}, "suite options.split: val against train"),
        ({"cameras": {"head": (9, 9)}}, "suite cameras.head: {} against (9, 9)"),
    ],
)
def test_another_protocol_is_refused(expert, changes, refusal):
    suite = expert.manifest.suite
    before = suite.max_steps if "max_steps" in changes else suite.cameras["head"]
    merged = {
        name: {**getattr(suite, name), **value} if isinstance(value, dict) else value
        for name, value in changes.items()
    }
    found = differences(expert, with_suite(expert, **merged)).refusals
    assert found == [refusal.format(before)]


@pytest.mark.parametrize(
    "changes", [{"description": "other"}, {"episodes": 5, "trials": 9}, {"resources": None}]
)
def test_what_changes_no_item_is_not(expert, changes):
    assert differences(expert, with_suite(expert, **changes)).comparable


def test_a_suite_and_the_one_that_it_is_part_of_may_be_compared(expert):
    whole = with_suite(expert, name="micro-and-more", max_steps=999, tasks=part_of(expert, "micro"))
    found = differences(expert, whole)
    assert found.comparable
    assert "the items that both have played are of micro and of micro-and-more" in found.remarks


def part_of(run, suite):
    card = run.manifest.suite
    return {
        name: task.model_copy(update={"suite": suite, "max_steps": card.steps_of(name)})
        for name, task in card.tasks.items()
    }


def test_another_version_of_a_pinned_engine_is_refused(expert):
    pinned = with_suite(expert, engine={"numpy": "2"})
    versions = {**pinned.manifest.versions, "numpy": "0.1"}
    other = replace(pinned, manifest=pinned.manifest.model_copy(update={"versions": versions}))
    (refusal,) = differences(pinned, other).refusals
    assert refusal.startswith("engine numpy: ")
    assert refusal.endswith(" against 0.1")
    assert not any("numpy" in line for line in differences(pinned, other).remarks)


def test_episodes_that_are_missing_for_a_reason_are_warned_of(expert):
    gone, half = range(8), range(4, 12)
    lost = with_episodes(expert, gone, success=False)
    unfinished = with_episodes(expert, gone, recorded=False, success=False)
    (warning,) = differences(unfinished, lost).warnings
    assert "8 of 20 episodes are missing, and not by chance" in warning
    assert "succeeds on 0/8 of these, on 12/12 of the others" in warning
    by_chance = with_episodes(expert, half, success=False)
    (warning,) = differences(unfinished, by_chance).warnings
    assert warning.endswith("8 of 20 episodes are missing")


def test_the_first_episodes_of_a_longer_run_are_not_missing(expert):
    short = replace(expert, episodes=expert.episodes.iloc[:5])
    found = differences(expert, short)
    assert found.warnings == []
    assert found.remarks == [
        "20 and 5 clean items are recorded, 5 of them in both; 15 and 0 are left out"
    ]


def test_what_only_one_policy_is_told_is_warned_of(expert, tmp_path):
    execute(
        plan_run(RunSpec("random", "micro", tasks=["detour"], episodes=1, trials=1, out=tmp_path))
    )
    found = differences(read_run(tmp_path), expert)
    names = ", ".join(expert.manifest.policy.inputs.privileged)
    assert found.warnings == [f"expert alone reads the privileged {names}"]
