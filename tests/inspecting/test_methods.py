"""Every method that sees shows maps over its images, and plans with less to see."""

import numpy as np
import pytest

from tests.inspecting.conftest import SEEING
from tests.learned import checkpoint, demonstrations
from tests.policies.test_deepvision import SMALL as DEEPVISION
from vla_bench import load_card, make_policy, make_suite, prepare_card
from vla_bench.cards import PolicyCard, SuiteCard
from vla_bench.learning.training import train
from vla_bench.policies.base import Observation
from vla_bench.policies.learned.recipe import load_recipe

SUITE = load_card(SuiteCard, "micro")
METHODS = ["l1", "focusvla", "posavla", "deepvision-vla"]


def trained(method, out):
    if method != "deepvision-vla":
        return checkpoint(out, method, **SEEING)
    recipe = load_recipe("deepvision-vla-micro", DEEPVISION)
    return train(recipe, demonstrations(recipe), out)


def observed(env, item, inputs):
    raw, _ = env.reset(options={"item": item})
    return Observation.shown(raw, item, 0, inputs)


@pytest.fixture(scope="module", params=METHODS)
def method(request, tmp_path_factory):
    """Diagnostics of a method, what it is shown, and its policy."""
    weights = trained(request.param, tmp_path_factory.mktemp(request.param) / "weights")
    card = load_card(PolicyCard, request.param).override({"weights": str(weights)})
    policy = make_policy(prepare_card(card, SUITE), SUITE)
    suite = make_suite(SUITE)
    [item] = suite.items("pick-red", episodes=1, trials=1)
    observation = observed(suite.make_env("pick-red"), item, policy.card.inputs)
    return policy.diagnostics(), observation, policy


def test_its_maps_are_over_its_images(method):
    diagnostics, observation, _ = method
    maps = diagnostics.attention(observation)
    assert maps
    for shown in maps.values():
        assert shown.ndim == 3
        assert len(shown) == len(observation.images)
        assert (shown >= 0).all()
        assert shown.any()


def test_it_plans_otherwise_with_nothing_to_see(method):
    diagnostics, observation, policy = method
    grid = diagnostics.grid(observation)
    tokens = np.stack([np.zeros(grid, bool), np.ones(grid, bool)])
    for layer in range(diagnostics.layers + 1):
        same, blind = diagnostics.plan_masked(observation, layer, tokens)
        planned = policy.actions.forward(policy.plan([observation])[0], clip=False)
        np.testing.assert_allclose(same, planned, atol=1e-4)
        assert layer > 0 or not np.allclose(same, blind, atol=1e-5)
