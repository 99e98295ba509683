"""The scripted experts solve every task of the mini world, quickly."""

from __future__ import annotations

import numpy as np
import pytest

from vla_bench import Settings, load_card, make_policy, make_suite, play
from vla_bench.cards import PolicyCard, SuiteCard

TASKS = list(load_card(SuiteCard, "ms-hab-mini").tasks)
EPISODES = 4


@pytest.mark.parametrize("task", TASKS)
def test_the_expert_solves(task):
    suite = make_suite(load_card(SuiteCard, "ms-hab-mini"))
    suite.prepare()
    policy = make_policy(load_card(PolicyCard, "expert"), suite.card)
    settings = Settings(1, suite.card.max_steps, "latched", policy.card.inputs)
    env = suite.make_env(task, ())
    items = suite.items(task, episodes=EPISODES, trials=1)
    records = [play(env, policy, item, settings) for item in items]
    env.close()
    assert [r.reason for r in records].count("success") >= EPISODES - 1
    assert np.mean([r.first_success for r in records if r.success]) <= 140
