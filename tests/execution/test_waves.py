"""Waves of episodes in lock step, on environments of which several are stepped together."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from vla_bench import RunFolder, RunSpec, execute, load_card, make_policy, make_suite, plan_run
from vla_bench.cards import PolicyCard, SuiteCard
from vla_bench.errors import UserError
from vla_bench.execution.inline import InlineExecutor
from vla_bench.execution.waves import WaveExecutor, executor_of
from vla_bench.settings import Settings
from vla_bench.suites.micro.suite import MicroSuite
from vla_bench.suites.wave import WaveEnv


class InStep(WaveEnv):
    """Lanes made of environments of their own; keeps a log of what was asked of it."""

    def __init__(self, make):
        self.make = make
        first = make()
        super().__init__(first.items, first.max_steps, first.render_mode)
        self.action_space = first.action_space
        self.observation_space = first.observation_space
        self.lanes, self.closed = [], False
        self.waves, self.actions, self.observed = [], [], []

    def begin(self, items):
        self.waves.append(list(items))
        self.lanes = [self.make() for _ in items]
        for lane, item in zip(self.lanes, items, strict=True):
            lane.begin(item)

    def advance(self, actions):
        self.actions.append(actions)
        rows = zip(self.lanes, actions, strict=True)
        return np.array([lane.advance(row) for lane, row in rows])

    def observe(self, images=True):
        self.observed.append((len(self.actions), images))
        return [lane.observe(images) for lane in self.lanes]

    def state_bytes(self, lane):
        return self.lanes[lane].state_bytes()

    def world_probe(self, lane):
        return self.lanes[lane].world_probe()

    def status(self, lane):
        return self.lanes[lane].status()

    def close(self):
        self.closed = True


def in_waves(suite, monkeypatch):
    """A suite that plays waves; returns the environments that it makes, as they are made."""
    made = []

    def make_wave(task, cameras=None, render_mode=None):
        made.append(InStep(lambda: suite.make_env(task, cameras, render_mode)))
        return made[-1]

    monkeypatch.setattr(suite, "make_wave", make_wave, raising=False)
    return made


@pytest.fixture
def line(monkeypatch):
    suite = make_suite(load_card(SuiteCard, "line"))
    suite.made = in_waves(suite, monkeypatch)
    return suite


@pytest.fixture
def micro(monkeypatch):
    suite = make_suite(load_card(SuiteCard, "micro"))
    suite.made = in_waves(suite, monkeypatch)
    return suite


def runner(kind, suite, name, batch, horizon=2, outcome="latched", **options):
    policy = make_policy(prepared(name, suite, options), suite.card)
    settings = Settings(horizon, None, outcome, policy.card.inputs, policy.card.temporal_ensembling)
    return kind(suite, policy, settings, None, batch=batch)


def prepared(name, suite, options):
    from vla_bench.registry import prepare_card

    return prepare_card(load_card(PolicyCard, name).override(options), suite.card)


def outcomes(records):
    return {record.item: record.outcome() for record in records}


def items_of(suite, episodes=7):
    return [i for t in suite.card.tasks for i in suite.items(t, episodes=episodes, trials=1)]


@pytest.mark.parametrize("outcome", ["latched", "final"])
@pytest.mark.parametrize("name", ["walker", "drunkard", "random"])
@pytest.mark.parametrize("lanes", [1, 3, 16])
def test_a_wave_gives_the_records_of_one_by_one(line, name, lanes, outcome):
    items = items_of(line)
    alone = outcomes(runner(InlineExecutor, line, name, 1, outcome=outcome).run(items))
    waves = list(runner(WaveExecutor, line, name, lanes, outcome=outcome).run(items))
    assert len(waves) == len(items)
    assert outcomes(waves) == alone
    assert len({o["steps"] for o in alone.values()}) > (outcome == "latched" and name != "random")
    for env in line.made:
        assert max(map(len, env.waves)) <= lanes
        assert env.closed


@pytest.mark.parametrize("lanes", [2, 5])
def test_waves_of_micro_with_an_expert_that_reads_every_step(micro, lanes):
    items = items_of(micro, episodes=3)
    alone = outcomes(runner(InlineExecutor, micro, "expert", 1, horizon=1).run(items))
    waves = outcomes(runner(WaveExecutor, micro, "expert", lanes, horizon=1).run(items))
    assert waves == alone
    assert sum(o["success"] for o in alone.values()) > 10
    assert len({o["steps"] for o in alone.values()}) > 5  # lanes of unequal length


def test_lanes_that_have_ended_rest_until_the_wave_ends(line):
    items = line.items("go-right", episodes=5, trials=1)  # 2, 3, 4, 5 and 6 steps of 1 away
    running = runner(WaveExecutor, line, "walker", 5, skill="1.0")
    records = list(running.run(items))
    [env] = line.made
    steps = {r.index: r.steps for r in records}
    assert sorted(steps.values()) == [4, 6, 8, 10, 12]
    assert [r.index for r in records] == sorted(steps, key=steps.get)  # as soon as they are there
    assert len(env.actions) == 12
    for played, actions in enumerate(env.actions):
        ended = [index for index, count in steps.items() if count <= played]
        assert actions.dtype == np.float32
        assert actions.shape == (5, 2)
        assert not actions[ended].any()
        assert actions[[i for i in steps if i not in ended], 0].all()


def test_one_call_plans_for_all_lanes_and_one_observation_is_made_a_step(line):
    running = runner(WaveExecutor, line, "walker", 3, skill="1.0")
    calls, plan = [], running.policy.plan
    running.policy.plan = lambda seen: calls.append([o.item.index for o in seen]) or plan(seen)
    list(running.run(line.items("go-right", episodes=3, trials=1)))
    assert calls == [[0, 1, 2], [0, 1, 2], [1, 2], [2]]
    [env] = line.made
    assert env.observed == [(0, True), (2, True), (4, True), (6, True)]


def test_waves_are_cut_by_task(line):
    items = items_of(line, episodes=4)
    list(runner(WaveExecutor, line, "walker", 3).run(items))
    waves = [[i.index for i in wave] for env in line.made for wave in env.waves]
    assert waves == [[0, 1, 2], [3], [0, 1, 2], [3]]
    assert all(len({i.task for i in wave}) == 1 for env in line.made for wave in env.waves)
    assert len(line.made) == 2


def crashing(monkeypatch, suite, item, times, when="advance"):
    """The simulator falls over `times` times with an item in one of its lanes, and does not close."""
    left = [times]
    original = getattr(InStep, when)

    def falls(env, *arguments):
        if item in env.waves[-1] and left[0] and len(env.actions) >= 3:
            left[0] -= 1
            env.broken = True
            raise RuntimeError("the simulator fell over")
        return original(env, *arguments)

    def close(env):
        env.closed = True
        if hasattr(env, "broken"):
            raise RuntimeError("it does not even close")

    monkeypatch.setattr(InStep, when, falls)
    monkeypatch.setattr(InStep, "close", close)


@pytest.mark.parametrize("when", ["advance", "observe"])
def test_a_wave_that_fails_once_is_played_again_in_halves(line, monkeypatch, when):
    items = line.items("go-right", episodes=5, trials=1)
    wanted = outcomes(runner(InlineExecutor, line, "drunkard", 1, skill="1.0").run(items))
    crashing(monkeypatch, line, items[3], 1, when)
    records = list(runner(WaveExecutor, line, "drunkard", 5, skill="1.0").run(items))
    assert len(records) == 5
    assert outcomes(records) == wanted
    waves = [[i.index for i in wave] for env in line.made for wave in env.waves]
    assert waves[0] == [0, 1, 2, 3, 4]
    assert sorted(i for wave in waves[1:] for i in wave) == sorted(
        r.index for r in records if r.steps > 3 or when == "observe"
    )
    assert all(env.closed for env in line.made)


def test_an_item_that_always_fails_is_found_and_costs_no_other(line, monkeypatch):
    items = line.items("go-on", episodes=6, trials=1)
    wanted = outcomes(runner(InlineExecutor, line, "walker", 1, skill="0.0").run(items))
    crashing(monkeypatch, line, items[4], 99)
    records = {r.index: r for r in runner(WaveExecutor, line, "walker", 6, skill="0.0").run(items)}
    assert records[4].reason == "harness_error"
    assert records[4].error == "RuntimeError: the simulator fell over"
    others = [r for i, r in records.items() if i != 4]
    assert outcomes(others).items() <= wanted.items()
    assert len(others) == 5
    begun = Counter(i.index for env in line.made for wave in env.waves for i in wave)
    alone = [w for env in line.made for w in env.waves if [i.index for i in w] == [4]]
    assert len(alone) == 4
    assert begun[0] == 2


def test_a_policy_that_breaks_its_contract_ends_its_own_lane(line):
    items = line.items("go-right", episodes=3, trials=1)

    def one_bad(observations):
        chunks = np.full((len(observations), 4, 2), 0.5, np.float32)
        chunks[[o.item == items[1] for o in observations], 1, 1] = np.nan
        return chunks

    running = runner(WaveExecutor, line, "walker", 3)
    running.policy.plan = one_bad
    reasons = {r.index: r.reason for r in running.run(items)}
    assert reasons == {0: "success", 1: "policy_error", 2: "success"}
    assert len(line.made) == 1


def test_a_wrong_shape_ends_the_episodes(line):
    running = runner(WaveExecutor, line, "walker", 3)
    running.policy.plan = lambda observations: np.zeros((1, 4, 2), np.float32)
    records = list(running.run(line.items("go-right", episodes=3, trials=1)))
    assert {r.reason for r in records} == {"policy_error"}
    assert all("shape (1, 4, 2), expected (3, 4, 2)" in r.error for r in records)
    assert all(env.closed for env in line.made)


def test_times_of_a_wave_add_up(line, monkeypatch):
    import time

    advance = InStep.advance

    def slowly(env, actions):
        time.sleep(0.02)
        return advance(env, actions)

    monkeypatch.setattr(InStep, "advance", slowly)
    start = time.perf_counter()
    items = line.items("go-right", episodes=4, trials=1)
    records = list(runner(WaveExecutor, line, "walker", 4, skill="1.0").run(items))
    elapsed = time.perf_counter() - start
    stepping = sum(r.simulation_s for r in records)
    assert 0.02 * len(line.made[0].actions) <= stepping <= sum(r.wall_s for r in records) <= elapsed
    assert min(r.simulation_s / r.steps for r in records) >= 0.02 / 4


def test_a_run_of_a_suite_in_waves_resumes(tmp_path, monkeypatch):
    def make_wave(suite, task, cameras=None, render_mode=None):
        return InStep(lambda: suite.make_env(task, cameras, render_mode))

    def spec(out, **changes):
        asked = {"policy": "expert", "suite": "micro", "tasks": ["pick-red"], "episodes": 3}
        return RunSpec(**{**asked, "trials": 2, "batch": 4, "out": tmp_path / out, **changes})

    inline = outcomes(execute(plan_run(spec("inline"))))
    monkeypatch.setattr(MicroSuite, "in_waves", True)
    monkeypatch.setattr(MicroSuite, "make_wave", make_wave)
    assert executor_of(plan_run(spec("other")).suite) is WaveExecutor
    assert outcomes(execute(plan_run(spec("waves")))) == inline
    log = tmp_path / "waves" / "episodes.jsonl"
    log.write_text("".join(log.read_text().splitlines(keepends=True)[:2])[:-30])
    assert outcomes(execute(plan_run(spec("waves")))) == inline
    assert len(RunFolder(tmp_path / "waves").records()) == 6
    with pytest.raises(UserError, match="not filmed"):
        execute(plan_run(spec("film", video="failures")))
