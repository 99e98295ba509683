"""The layer study: it finds what a policy owes to which tokens, and where."""

import numpy as np
import pytest
import torch

from vla_bench import UserError
from vla_bench.inspecting.playing import Look
from vla_bench.inspecting.sensitivity import averaged, study, trial
from vla_bench.items import WorkItem
from vla_bench.policies.base import Observation
from vla_bench.policies.diagnostics import Diagnostics
from vla_bench.replay import Stage

GRID = (1, 4, 4)


class Known(Diagnostics):
    """A policy whose plan is the sum of the tokens it looks at, as far as they reach layer 2."""

    layers = 3

    def __init__(self, looks_at):
        self.looks_at = looks_at

    def grid(self, observation):
        return GRID

    def plan_masked(self, observation, layer, tokens):
        seen = ~tokens if layer <= 2 else np.ones_like(tokens)
        return np.tile((seen * self.looks_at).sum((1, 2, 3))[:, None, None], (1, 5, 2))


def observed(mask):
    item = WorkItem(
        suite="s", version=1, task="t", trial=0, index=0, seed=0, instruction="", initial_state={}
    )
    return Look(0, {}, None, {"head": mask}, b""), Observation(item, 0, "")


def objects(side=8):
    """The upper left quarter of a view."""
    mask = np.zeros((side, side), bool)
    mask[: side // 2, : side // 2] = True
    return mask


def test_what_is_looked_at_alone_matters_as_far_as_it_goes():
    mask = objects()
    looks_at = mask[::2, ::2][None]
    found = trial(Known(looks_at), *observed(mask))
    assert np.array_equal(found.relevant, looks_at)
    assert found.by_relevant.tolist() == [16, 16, 16, 0]
    assert found.by_control.tolist() == [0, 0, 0, 0]


def test_control_tokens_are_as_many_others_and_the_same_each_time():
    mask = objects()
    everywhere = np.ones(GRID, bool)
    found = trial(Known(everywhere), *observed(mask))
    assert found.control.sum() == found.relevant.sum()
    assert not (found.control & found.relevant).any()
    assert np.array_equal(found.by_control, found.by_relevant)
    again = trial(Known(everywhere), *observed(mask))
    assert np.array_equal(again.control, found.control)


@pytest.mark.parametrize("mask", [np.zeros((8, 8), bool), np.ones((8, 8), bool)])
def test_plans_without_tokens_to_compare_are_left_out(mask):
    assert trial(Known(np.ones(GRID, bool)), *observed(mask)) is None


def test_intervals_are_over_episodes():
    draw = np.random.default_rng(1)
    values = draw.normal(5, 2, (400, 1))
    [point] = averaged(values)
    low, high = point.interval
    assert point.mean == pytest.approx(values.mean())
    assert high - low == pytest.approx(2 * 1.96 * values.std() / 20, rel=0.1)
    [lone] = averaged(values[:1])
    assert lone.interval is None


def test_the_study_of_a_learned_policy(runs):
    stage = Stage(runs())
    records = [stage.find(f"pick-red/0/{number}") for number in range(2)]
    found = study(stage, records, [0, 8])
    assert found.differences == []
    plans = [len(trials) for trials in found.trials]
    assert sum(plans) + found.left_out == 4
    layers = found.layers()
    assert [layer.layer for layer in layers] == [0, 1, 2]
    for layer in layers:
        assert layer.difference.mean == pytest.approx(layer.relevant.mean - layer.control.mean)
    assert layers[0].relevant.mean > 0


def test_masking_nothing_changes_nothing(runs):
    stage = Stage(runs())
    found = study(stage, [stage.find("pick-red/0/0")], [0])
    [moment] = found.episodes[0][1]
    tokens = np.zeros((2, *moment.shown.relevant.shape), bool)
    [one, other] = stage.policy.diagnostics().plan_masked(moment.observation, 1, tokens)
    [plan] = stage.policy.plan([moment.observation])
    np.testing.assert_allclose(one, other, atol=1e-5)
    actions = stage.policy.actions.inverse(torch.from_numpy(one)).numpy()
    np.testing.assert_allclose(actions, plan, atol=1e-5)


def test_policies_without_visual_tokens_are_refused(runs):
    for run in (runs("expert"), runs(changes={})):
        stage = Stage(run)
        with pytest.raises(UserError, match="no visual tokens"):
            study(stage, [stage.find("pick-red/0/0")], [0])
