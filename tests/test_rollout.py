import dataclasses

import numpy as np
import pytest

from vla_bench import Policy, Settings, load_card, make_policy, make_suite, play
from vla_bench.cards import PolicyCard, SuiteCard
from vla_bench.errors import UserError


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
    [("nan", "action at step 1 is not finite: entries [1]"), ("exception", "out of ideas")],
)
def test_a_broken_contract_is_a_policy_error(suite, item, fault, cause):
    policy = walker(suite, fault=fault)
    record = play(suite.make_env("go-right"), policy, item, settings(policy))
    assert (record.success, record.reason) == (False, "policy_error")
    assert cause in record.error


def test_a_chunk_of_the_wrong_shape_stops_the_run(suite, item):
    policy = walker(suite, fault="size")
    with pytest.raises(UserError, match=r"shape \(1, 4, 3\), expected \(1, 4, 2\)"):
        play(suite.make_env("go-right"), policy, item, settings(policy))


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
