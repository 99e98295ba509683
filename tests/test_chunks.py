from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from vla_bench.chunks import ChunkPlayer


def numbered(step, length):
    """A chunk whose action for step s is s: an off-by-one shows at once."""
    return np.arange(step, step + length, dtype=np.float32)[:, None]


def played(chunks, plan, steps):
    """Actions by step and the steps planned from, of a player that is driven as the rollout does it."""
    actions, planned = [], []
    for step in range(steps):
        # With no delay a chunk arrives in the step in which it is asked for.
        for _ in range(2):
            if chunks.arrives(step):
                chunks.add(plan(planned[-1]))
            if chunks.due(step):
                chunks.ask(step)
                planned.append(step)
        action = chunks.action(step)
        actions.append(None if action is None else action.tolist())
    return actions, planned


class Robot:
    """A robot with a queue, told step by step and without any arithmetic of chunks.

    It takes one action off its queue per step. A thought takes `delay` steps, and begins as soon as the
    robot is not thinking and has reached index H of the chunk it executes. While it thinks it goes on
    with its queue, and counts the actions that it takes off; where the queue is empty it waits. The
    thought done, it drops as many actions of the new chunk as it has taken off, and executes the rest.
    """

    def __init__(self, horizon, delay):
        self.horizon, self.delay = horizon, delay

    def play(self, plan, steps):
        queue, actions, planned = [], [], []
        thought, left, taken = None, 0, 0
        reached = (
            self.horizon
        )  # index of the next action in its chunk; at first a plan is due at once
        for step in range(steps):
            while True:
                if thought is not None and left == 0:
                    queue, reached, thought = plan(thought)[taken:].tolist(), taken, None
                if thought is not None or reached < self.horizon:
                    break
                thought, left, taken = step, self.delay, 0
                planned.append(step)
            actions.append(queue.pop(0) if queue else None)
            if actions[-1] is not None:
                reached += 1
                taken += 1
            if thought is not None:
                left -= 1
        return actions, planned


def distinct(length):
    """Chunks of which no two have an action in common."""
    return lambda step: 1000 * step + np.arange(length, dtype=np.float32)[:, None]


settings = st.integers(1, 12).flatmap(
    lambda length: st.tuples(st.just(length), st.integers(1, length), st.integers(0, 20))
)


@given(settings, st.integers(1, 80))
def test_a_delayed_player_plays_like_a_robot_with_a_queue(setting, steps):
    length, horizon, delay = setting
    plan = distinct(length)
    found = played(ChunkPlayer(horizon, delay=delay), plan, steps)
    assert found == Robot(horizon, delay).play(plan, steps)


@given(settings, st.integers(1, 80), st.floats(0, 2))
def test_an_ensemble_is_of_the_chunks_that_have_arrived_and_reach_the_step(setting, steps, m):
    length, horizon, delay = setting
    plan = distinct(length)
    actions, planned = played(ChunkPlayer(horizon, m, delay), plan, steps)
    # An ensemble changes what is played, not when it is planned or where the robot waits.
    alone, same = Robot(horizon, delay).play(plan, steps)
    assert planned == same
    assert [a is None for a in actions] == [a is None for a in alone]
    chunks = list(zip(planned, starts_of(planned, length, delay), strict=True))
    for step, action in enumerate(actions):
        reach = [plan(t)[step - s] for t, s in chunks if t + delay <= step < s + length]
        assert (action is None) == (not reach)
        if reach:
            weights = np.exp(-m * np.arange(len(reach)))
            np.testing.assert_allclose(
                action, np.average(reach, axis=0, weights=weights), rtol=1e-5
            )


def starts_of(planned, length, delay):
    """The step that each chunk's first action is for."""
    start = None
    for t in planned:
        start = t + delay - (0 if start is None else min(delay, max(0, start + length - t)))
        yield start


@given(
    length=st.integers(1, 12),
    steps=st.integers(1, 60),
    ensembling=st.one_of(st.none(), st.floats(0, 2)),
    data=st.data(),
)
def test_without_delay_every_step_gets_its_own_action(length, steps, ensembling, data):
    horizon = data.draw(st.integers(1, length))
    chunks = ChunkPlayer(horizon, ensembling)
    actions, planned = played(chunks, lambda step: numbered(step, length), steps)
    np.testing.assert_allclose(np.ravel(actions), np.arange(steps), rtol=1e-6)
    assert planned == list(range(0, steps, horizon))
    assert chunks.index(steps - 1) == (steps - 1) % horizon


@given(st.integers(1, 12), st.integers(0, 20))
def test_a_whole_chunk_and_a_delay_is_stop_and_think(length, delay):
    actions, planned = played(ChunkPlayer(length, delay=delay), distinct(length), 60)
    period = delay + length
    assert planned == list(range(0, 60, period))
    for step, action in enumerate(actions):
        k = step % period - delay
        assert action == (None if k < 0 else [1000 * (step // period) * period + k])


@given(settings)
def test_a_chunk_long_enough_leaves_no_pause_but_the_first(setting):
    length, horizon, delay = setting
    actions, _ = played(ChunkPlayer(horizon, delay=delay), distinct(length), 100)
    enough = max(horizon, delay) + delay <= length
    assert (None not in actions[delay:]) == (enough or delay == 0)


@given(settings.filter(lambda setting: setting[2] >= setting[0]))
def test_a_delay_beyond_the_chunk_leaves_pauses_and_no_chunk_unplayed(setting):
    length, horizon, delay = setting
    actions, planned = played(ChunkPlayer(horizon, delay=delay), distinct(length), 200)
    for t, after in list(pairwise(planned))[:-1]:
        own = [a[0] - 1000 * t for a in actions if a is not None and a[0] // 1000 == t]
        assert after - t >= delay
        assert len(own) >= horizon
        assert own == list(range(length - len(own), length))


def test_the_time_line_of_the_docs():
    chunks = ChunkPlayer(4, delay=3)
    actions, planned = played(chunks, distinct(6), 14)
    assert planned == [0, 7, 12]
    zero, seven = [[[1000.0 * t + k] for k in range(6)] for t in (0, 7)]
    assert actions == [None] * 3 + zero + [None] + seven[2:]
    assert chunks.index(13) == 5


def test_ensembling_weighs_the_oldest_prediction_most():
    made = {0: [[0.0], [3.0]], 1: [[0.0], [0.0]]}
    actions, _ = played(ChunkPlayer(1, np.log(2)), lambda t: np.array(made[t], np.float32), 2)
    # Weights exp(0) for the older prediction 3, exp(-log 2) for the newer prediction 0.
    np.testing.assert_allclose(actions[1], [2.0], rtol=1e-6)


def test_an_action_handed_out_is_not_a_view_of_the_chunk():
    chunks = ChunkPlayer(2)
    chunk = numbered(0, 2)
    chunks.ask(0)
    chunks.add(chunk)
    chunks.action(0)[:] = 99
    assert chunk[0, 0] == 0
