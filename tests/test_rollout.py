import dataclasses
import time

import numpy as np
import pytest

from vla_bench import Policy, Settings, load_card, make_policy, make_suite, play
from vla_bench.cards import PolicyCard, SuiteCard
from vla_bench.errors import PolicyError
from vla_bench.planning import PlannedChunk
from vla_bench.rollout import rollout


@pytest.fixture
def suite():
    return make_suite(load_card(SuiteCard, "line"))


@pytest.fixture
def item(suite):
    return suite.items("go-right")[4]


def walker(suite, **options):
    card = load_card(PolicyCard, "walker").override({"skill": "1.0", **options})
    return make_policy(card, suite.card)


def settings(policy, **changes):
    inputs = policy.card.inputs
    base = Settings(horizon=2, max_steps=20, outcome="latched", inputs=inputs)
    return dataclasses.replace(base, **changes)


def test_one_observation_per_chunk(suite, item):
    env, policy = suite.make_env("go-right"), walker(suite)
    record = play(env, policy, item, settings(policy, horizon=4))
    assert (record.steps, record.queries, env.observed) == (12, 3, 3)
    assert (record.success, record.reason, record.first_success) == (True, "success", 12)


def test_skipping_observations_changes_no_record(suite, item):
    policy = walker(suite)
    records = [
        play(suite.make_env("go-right"), policy, item, settings(policy, observe_every_step=every))
        for every in (False, True)
    ]
    assert records[0].outcome() == records[1].outcome()


def test_latched_and_final_outcomes(suite, item):
    class Overshoot(Policy):
        """Reaches the goal at step 6 and walks back."""

        def plan(self, observations):
            ahead = observations[0].step < 6
            return np.full((1, 1, 2), 1.0 if ahead else -1.0, np.float32)

    card = load_card(PolicyCard, "walker").model_copy(update={"chunk_length": 1})
    policy = Overshoot(card, suite.card)
    latched = play(suite.make_env("go-right"), policy, item, settings(policy, horizon=1))
    final = play(
        suite.make_env("go-right"), policy, item, settings(policy, horizon=1, outcome="final")
    )
    assert (latched.success, latched.steps, latched.first_success) == (True, 6, 6)
    assert (final.success, final.steps, final.first_success) == (False, 20, 6)
    assert final.reason == "timeout"


@pytest.mark.parametrize(
    ("fault", "cause"),
    [
        ("nan", "action at step 1 is not finite: entries [1]"),
        ("exception", "out of ideas"),
        ("size", "plan returned shape (1, 4, 3), expected (1, 4, 2)"),
        ("huge", "action at step 0 is beyond 1e+06: entries [0]"),
    ],
)
def test_a_broken_contract_is_a_policy_error(suite, item, fault, cause):
    policy = walker(suite, fault=fault)
    record = play(suite.make_env("go-right"), policy, item, settings(policy))
    assert (record.success, record.reason) == (False, "policy_error")
    assert cause in record.error


def test_correction_sees_every_step_and_its_place_in_the_chunk(suite, item):
    seen = []

    class Corrected(type(walker(suite))):
        def correct(self, observation, action, k):
            seen.append((observation.step, k))
            return action + np.array([0.5, 0], np.float32)

    policy = Corrected(walker(suite).card, suite.card)
    env = suite.make_env("go-right")
    record = play(env, policy, item, settings(policy, horizon=4))
    assert seen == [(s, s % 4) for s in range(6)]
    assert (record.steps, record.queries, env.observed) == (6, 2, 6)


def test_a_policy_sees_only_what_its_card_declares(suite, item):
    class Curious(Policy):
        def plan(self, observations):
            self.seen = observations[0]
            return np.zeros((1, 4, 2), np.float32)

    policy = Curious(load_card(PolicyCard, "hold"), suite.card)
    policy.card = policy.card.model_copy(update={"chunk_length": 4})
    play(suite.make_env("go-right"), policy, item, settings(policy))
    assert (policy.seen.images, policy.seen.state, policy.seen.privileged) == ({}, {}, {})


@pytest.mark.parametrize(("reads_images", "rendered"), [(True, 6), (False, 2)])
def test_a_correction_that_reads_no_images_renders_none(suite, item, reads_images, rendered):
    seen = []

    class Corrected(type(walker(suite))):
        correction_images = reads_images

        def correct(self, observation, action, k):
            seen.append((list(observation.images), float(observation.state["position"][0])))
            return action + np.array([0.5, 0], np.float32)

    policy = Corrected(walker(suite).card, suite.card)
    env = suite.make_env("go-right")
    record = play(env, policy, item, settings(policy, horizon=4))
    assert (record.steps, env.observed, env.rendered) == (6, 6, rendered)
    with_images = [bool(images) for images, _ in seen]
    assert with_images == [reads_images or step % 4 == 0 for step in range(6)]
    assert [position for _, position in seen] == [0, 1, 2, 3, 4, 5]
    every = play(env, policy, item, settings(policy, horizon=4, observe_every_step=True))
    assert env.rendered == rendered + 6
    assert every.outcome() == record.outcome()
    assert [bool(images) for images, _ in seen[6:]] == with_images


def test_the_suites_own_measures_at_the_end_are_recorded(suite, item):
    class Long(Policy):
        def plan(self, observations):
            return np.full((1, 4, 2), 0.7, np.float32)

    policy = Long(walker(suite).card, suite.card)
    record = play(suite.make_env("go-right"), policy, item, settings(policy))
    # 9 steps of float32(0.7) lead to 6.3, the goal is at 6; the infinite `time_left` is dropped.
    assert record.status == {"arrived": 1.0, "overshot": 0.3}
    assert record.outcome()["status"] == record.status
    stuck = play(suite.make_env("go-right"), walker(suite, skill="0.0"), item, settings(policy))
    assert stuck.status == {"arrived": 0.0, "overshot": -6.0}


def test_a_rollout_leaves_the_planning_to_its_caller(suite, item):
    policy = walker(suite)
    policy.plan = None  # nobody may call it
    episode = rollout(suite.make_env("go-right"), policy, item, settings(policy))
    answer = PlannedChunk(np.ones((4, 2), np.float32), wall_s=100.0, cpu_s=10.0)
    assert next(episode).step == 0
    assert [episode.send(answer).step for _ in range(2)] == [2, 4]
    with pytest.raises(StopIteration) as end:
        episode.send(answer)
    record = end.value.value
    assert (record.success, record.steps, record.queries) == (True, 6, 3)
    assert 300 < record.wall_s < 301
    assert 300 < record.policy_s < 301
    assert 30 < record.cpu_s < 31


def test_waiting_for_a_plan_is_not_time_of_the_episode(suite, item):
    policy = walker(suite)
    episode = rollout(suite.make_env("go-right"), policy, item, settings(policy, horizon=4))
    next(episode)
    time.sleep(0.3)
    with pytest.raises(StopIteration) as end:
        episode.send(PolicyError("no plan"))
    record = end.value.value
    assert (record.reason, record.error, record.queries) == ("policy_error", "no plan", 0)
    assert record.wall_s < 0.2
