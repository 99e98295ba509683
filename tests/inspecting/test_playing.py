"""An episode played again is the episode, and is looked at where it was planned."""

import numpy as np
import pytest

from vla_bench import UserError
from vla_bench.cards import PolicyInputs
from vla_bench.inspecting.playing import chosen_plans, known, planned_steps, play_again
from vla_bench.replay import Stage
from vla_bench.settings import Settings


def played(stage, name, steps=()):
    record = stage.find(name)
    env = stage.env(record.task)
    return play_again(stage, env, record, steps, lambda look, observation: observation.step)


@pytest.mark.parametrize("delay", [0, 1])
def test_it_goes_as_recorded_and_is_asked_at_its_plans(runs, delay):
    stage = Stage(runs(delay=delay))
    record = stage.find("pick-red/0/1")
    asked = []
    plan = stage.policy.plan
    stage.policy.plan = lambda seen: asked.extend(o.step for o in seen) or plan(seen)
    every = list(range(record.steps))
    found = played(stage, "pick-red/0/1", every)
    assert found.differences == []
    assert [moment.look.step for moment in found.moments] == asked
    assert [moment.shown for moment in found.moments] == asked
    assert len(found.actions) == len(found.grippers) - 1 == record.steps


def test_a_step_stands_for_the_last_plan_before_it(runs):
    stage = Stage(runs())
    steps = [moment.look.step for moment in played(stage, "pick-red/0/0", [0, 1, 5, 9]).moments]
    assert steps == [0, 4, 8]


def test_plans_are_spread_over_the_episode(runs):
    stage = Stage(runs())
    record = stage.find("pick-red/0/0").model_copy(update={"steps": 30})
    assert chosen_plans(stage.settings, 4, record, []) == [0, 8, 20]
    with pytest.raises(UserError, match="steps 0 to 29"):
        chosen_plans(stage.settings, 4, record, [30])


@pytest.mark.parametrize(("delay", "expected"), [(0, [0, 4, 8]), (3, [0, 7, 11]), (6, [0, 10])])
def test_planned_steps(delay, expected):
    settings = Settings(4, None, "latched", PolicyInputs(), delay=delay)
    assert planned_steps(settings, 12, 12) == expected


def test_the_task_anchor_is_where_the_gripper_acts_next(runs):
    stage = Stage(runs("expert"))
    found = played(stage, "pick-red/0/0", [0])
    assert found.record.success
    assert len(found.events) == 1
    anchor = found.anchor(0)
    assert np.array_equal(anchor, found.grippers[found.events[0]])
    assert found.anchor(found.events[0] + 1) is None


def test_what_a_suite_does_not_tell_is_left_out():
    def fail():
        raise UserError("it does not tell")

    assert known(fail) is None
    assert known(lambda: 1) == 1
