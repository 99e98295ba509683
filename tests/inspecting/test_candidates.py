"""Candidates: the chosen one is what is played, and each leads where the world takes it."""

import numpy as np
import pytest

from vla_bench import UserError
from vla_bench.inspecting.candidates import fan_out
from vla_bench.replay import Stage

STEPS = [0, 4]


def fans(folder, name="pick-red/0/0"):
    stage = Stage(folder)
    return (*fan_out(stage, stage.find(name), STEPS), stage)


@pytest.fixture(scope="module")
def planned(runs):
    """Nothing is corrected: what is planned is what is played."""
    return fans(runs(options={"residual": "false"}))


def test_the_chosen_path_is_the_one_that_was_taken(planned):
    played, found, stage = planned
    horizon = stage.manifest.horizon
    for fan, step in zip(found, STEPS, strict=True):
        taken = np.array(played.grippers[step : step + horizon + 1])
        path = fan.paths[fan.moment.shown.chosen]
        assert fan.moment.look.step == step
        assert np.array_equal(path[: horizon + 1], taken)
        assert not np.array_equal(path[0], path[1])


def test_the_chosen_chunk_is_the_plan(planned):
    _, found, stage = planned
    for fan in found:
        shown = fan.moment.shown
        [plan] = stage.policy.plan([fan.moment.observation])
        np.testing.assert_allclose(shown.chunks[shown.chosen], plan, atol=1e-6)
        assert shown.chosen == shown.scores.argmax()


def test_candidates_lead_to_different_places_from_one(planned):
    _, found, _ = planned
    for fan in found:
        count, length = fan.moment.shown.chunks.shape[:2]
        assert fan.paths.shape == (count, length + 1, 3)
        assert (fan.paths[:, 0] == fan.paths[0, 0]).all()
        assert len(np.unique(fan.paths[:, -1], axis=0)) == count
        ends = fan.paths[:, -1]
        assert fan.spread == pytest.approx(np.linalg.norm(ends - ends.mean(0), axis=1).mean())


def test_what_cannot_be_shown_is_refused(runs):
    with pytest.raises(UserError, match="reads no images"):
        fans(runs(changes={}))
    with pytest.raises(UserError, match="one chunk at a time"):
        fans(runs("l1"))
    with pytest.raises(UserError, match="use pick-red/0/0"):
        fans(runs(perturbations=("action-noise:1",)), "pick-red/0/0/action-noise:1")


def test_a_world_that_does_not_come_back_is_noticed(runs):
    stage = Stage(runs())
    make = stage.suite.make_env

    def forgetful(*arguments):
        env = make(*arguments)
        begin, begun = env.begin, []

        def begin_elsewhere(item):
            begin(item)
            env.world.x += 0.01 * len(begun)
            begun.append(item)

        env.begin = begin_elsewhere
        return env

    stage.suite.make_env = forgetful
    with pytest.raises(UserError, match="does not come back to the same state at step 0"):
        fan_out(stage, stage.find("pick-red/0/0"), STEPS)
