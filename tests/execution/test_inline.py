import time
from collections import Counter

import numpy as np
import pytest

from vla_bench import RunFolder, RunSpec, execute, load_card, make_policy, make_suite, plan_run
from vla_bench.cards import PolicyCard, SuiteCard
from vla_bench.execution.inline import InlineExecutor
from vla_bench.settings import Settings


@pytest.fixture
def suite():
    return make_suite(load_card(SuiteCard, "line"))


def spec(out, **changes):
    return RunSpec(**{"policy": "walker", "suite": "line", "episodes": 4, "out": out, **changes})


def outcomes(records):
    return {record.item: record.outcome() for record in records}


def executor(suite, batch, name="walker", plan=None, **options):
    """An executor, and the items of each call of `plan`, which `plan` may replace."""
    policy = make_policy(load_card(PolicyCard, name).override(options), suite.card)
    calls, inner = [], plan or policy.plan

    def counted(observations):
        calls.append([o.item for o in observations])
        return inner(observations)

    policy.plan = counted
    settings = Settings(2, 20, "latched", policy.card.inputs)
    return InlineExecutor(suite, policy, settings, folder=None, batch=batch), calls


@pytest.mark.parametrize("policy", ["walker", "drunkard", "random", "hold"])
def test_records_do_not_depend_on_the_batch_size(tmp_path, policy):
    runs = {}
    for batch in (1, 3, 16):
        folder = tmp_path / str(batch)
        asked = execute(plan_run(spec(folder, policy=policy, episodes=7, batch=batch)))
        records = RunFolder(folder).records()
        assert len(records) == len({r.item for r in records}) == len(asked) == 28
        runs[batch] = outcomes(records)
    assert runs[1] == runs[3] == runs[16]
    assert len({o["actions"] for o in runs[1].values()}) == {"walker": 6, "hold": 1}.get(policy, 28)


def test_all_episodes_that_wait_are_planned_in_one_call_in_item_order(suite):
    items = [i for task in suite.card.tasks for i in suite.items(task, episodes=7, trials=1)]
    running, calls = executor(suite, 3, "drunkard", skill="1.0")
    records = list(running.run(items))
    assert [len(call) for call in calls].count(3) > len(calls) / 2
    assert sum(len(call) for call in calls) == sum(r.queries for r in records)
    for call in calls:
        assert len({item.task for item in call}) == 1
        assert [item.index for item in call] == sorted(item.index for item in call)
    # An episode that ends hands its slot to the next item: no call is smaller while items wait.
    begun = Counter(item.digest for call in calls for item in call)
    assert set(begun) == {item.digest for item in items}
    first = [next(n for n, call in enumerate(calls) if item in call) for item in items[:7]]
    last = [max(n for n, call in enumerate(calls) if item in call) for item in items[:7]]
    assert all(len(call) == 3 for call in calls[: max(first)])
    assert first[3] == min(last[:3]) + 1


def test_an_environment_per_slot_serves_all_items(suite, monkeypatch):
    made = []
    make_env = suite.make_env
    monkeypatch.setattr(suite, "make_env", lambda *a: made.append(make_env(*a)) or made[-1])
    running, _ = executor(suite, 3)
    assert len(list(running.run(suite.items("go-right", episodes=7)))) == 14
    assert len(made) == 3


@pytest.mark.parametrize(
    ("crashes", "reason"), [(1, "success"), (3, "success"), (4, "harness_error")]
)
def test_a_crash_costs_its_own_item_only(suite, monkeypatch, crashes, reason):
    items = suite.items("go-right", episodes=5, trials=1)
    plain, _ = executor(suite, 3, "drunkard", skill="1.0")
    wanted = outcomes(plain.run(items))
    kind, begun, left = type(suite.make_env("go-right")), Counter(), [crashes]
    begin, advance, closed = kind.begin, kind.advance, []

    def close(env):
        closed.append(env)
        if hasattr(env, "broken"):
            raise RuntimeError("it does not even close")

    def noted(env, item):
        assert not hasattr(env, "broken")
        env.item = item
        begun[item.index] += 1
        begin(env, item)

    def falls(env, action):
        if env.item == items[1] and left[0] and env.position > 0.5:
            left[0] -= 1
            env.broken = True
            raise RuntimeError("the simulator fell over")
        return advance(env, action)

    monkeypatch.setattr(kind, "begin", noted)
    monkeypatch.setattr(kind, "advance", falls)
    monkeypatch.setattr(kind, "close", close)
    running, _ = executor(suite, 3, "drunkard", skill="1.0")
    records = {r.index: r for r in running.run(items)}
    assert begun == {0: 1, 1: min(crashes + 1, 4), 2: 1, 3: 1, 4: 1}
    assert (records[1].reason, len(records)) == (reason, 5)
    assert len(set(closed)) == len(closed) >= 3
    assert [hasattr(env, "broken") for env in closed].count(True) == crashes
    others = [r for r in records.values() if r.reason != "harness_error"]
    assert outcomes(others).items() <= wanted.items()
    assert len(others) == 5 - (crashes == 4)


def test_a_half_done_batched_run_goes_on(tmp_path):
    whole = execute(plan_run(spec(tmp_path / "whole", policy="drunkard", batch=3)))
    execute(plan_run(spec(tmp_path / "half", policy="drunkard", batch=3)))
    log = tmp_path / "half" / "episodes.jsonl"
    log.write_text("".join(log.read_text().splitlines(keepends=True)[:7])[:-30])
    again = execute(plan_run(spec(tmp_path / "half", policy="drunkard", batch=3)))
    assert outcomes(again) == outcomes(whole)
    assert len(log.read_text().splitlines()) == len(whole) == 16


def test_an_exception_in_a_plan_ends_the_episodes_of_that_call(suite):
    items = suite.items("go-right", episodes=6, trials=1)

    def fails_at_item_1(observations):
        if any(o.item == items[1] and o.step == 2 for o in observations):
            raise ValueError("out of ideas")
        return np.full((len(observations), 4, 2), 0.5, np.float32)

    running, calls = executor(suite, 3, plan=fails_at_item_1)
    records = {r.index: r for r in running.run(items)}
    assert [records[i].reason for i in range(6)] == ["policy_error"] * 3 + ["success"] * 3
    assert records[0].error == "ValueError: out of ideas"
    assert (records[0].steps, records[0].queries) == (2, 1)
    assert calls[1] == items[:3]


def test_an_action_that_is_not_finite_ends_its_own_episode(suite):
    items = suite.items("go-right", episodes=6, trials=1)

    def one_bad(observations):
        chunks = np.full((len(observations), 4, 2), 0.5, np.float32)
        chunks[[o.item == items[1] for o in observations], 1, 1] = np.nan
        return chunks

    running, _ = executor(suite, 3, plan=one_bad)
    reasons = {r.index: r.reason for r in running.run(items)}
    assert reasons == {i: "policy_error" if i == 1 else "success" for i in range(6)}


def test_a_policy_that_plans_for_the_first_only_is_told_so(suite):
    running, _ = executor(suite, 3, plan=lambda observations: np.zeros((1, 4, 2), np.float32))
    records = list(running.run(suite.items("go-right", episodes=3, trials=1)))
    assert {r.reason for r in records} == {"policy_error"}
    assert all("returned shape (1, 4, 2), expected (3, 4, 2)" in r.error for r in records)


def test_times_of_episodes_in_step_add_up(suite):
    def slowly(observations):
        time.sleep(0.05)
        return np.full((len(observations), 4, 2), 0.5, np.float32)

    running, calls = executor(suite, 4, plan=slowly)
    start = time.perf_counter()
    records = list(running.run(suite.items("go-right", episodes=6, trials=1)))
    elapsed = time.perf_counter() - start
    in_policy = sum(r.policy_s for r in records)
    assert 0.05 * len(calls) <= in_policy <= sum(r.wall_s for r in records) <= elapsed
    assert elapsed < 0.05 * sum(r.queries for r in records)  # batching has saved calls
    assert min(r.policy_s / r.queries for r in records) >= 0.05 / 4


def test_videos_of_failures_in_step(tmp_path):
    options = {"skill": "0.5"}
    run = plan_run(spec(tmp_path, trials=1, video="failures", batch=3, options=options))
    records = execute(run)
    failed = {r.item for r in records if not r.success}
    assert 0 < len(failed) < len(records)
    films = {path.stem.rpartition("_")[2] for path in (tmp_path / "videos").iterdir()}
    assert films == failed


def test_a_run_that_is_broken_off_leaves_no_half_video(tmp_path):
    run = plan_run(spec(tmp_path, trials=1, video="all", batch=3, tasks=["go-on"]))

    class Enough(Exception):
        pass

    def stop(record):
        raise Enough

    with pytest.raises(Enough):
        execute(run, stop)
    done = {r.item for r in RunFolder(tmp_path).records()}
    films = {path.stem.rpartition("_")[2] for path in (tmp_path / "videos").iterdir()}
    assert len(done) == 1
    assert done <= films
    assert not list((tmp_path / "videos").glob(".*"))
