"""The toy suite: its rules, its pictures, its disturbances, and the same episode every time."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys

import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from vla_bench import load_card, make_suite
from vla_bench.cards import SuiteCard
from vla_bench.errors import UserError
from vla_bench.items import digest
from vla_bench.suites.micro.layouts import Ball, Layout
from vla_bench.suites.micro.pictures import COLOURS
from vla_bench.suites.micro.world import (
    BASE_RADIUS,
    GRASP_TOLERANCE,
    HOLD_STEPS,
    POST_RADIUS,
    World,
)

TASKS = list(load_card(SuiteCard, "micro").tasks)
STILL = [0.0] * 4
OPEN, CLOSE = 1.0, -1.0


def suite_with(**options):
    return make_suite(load_card(SuiteCard, "micro").override(options))


@pytest.fixture(scope="module")
def suite():
    return suite_with()


def actions(count, seed=3):
    """Actions that drive, swing and grip, the same ones for every caller."""
    return np.random.default_rng(seed).uniform(-1, 1, (count, 5)).astype(np.float32)


def trace(env, item, steps=30):
    """Digest of every state and picture of an episode."""
    env.begin(item)
    told = hashlib.sha256(env.world_probe().encode())
    for action in actions(steps):
        env.advance(action)
        told.update(env.state_bytes())
        for image in env.observe()["images"].values():
            told.update(image.tobytes())
    return told.hexdigest()


def world_of(*balls, wanted=(0,), post=None):
    placed = tuple(Ball(x, y, colour) for x, y, colour in balls)
    return World(Layout(placed, frozenset(wanted), post, 0.0, 0.3))


def play(world, action, steps, push=0.0):
    for _ in range(steps):
        world.step(action, STILL, push)


@pytest.mark.parametrize("task", TASKS)
def test_gymnasium_accepts_the_environment(suite, task):
    env = suite.make_env(task, render_mode="rgb_array")
    check_env(env, skip_render_check=True)
    assert env.render().shape == (256, 256, 3)


@pytest.mark.parametrize("task", TASKS)
def test_the_card_says_what_is_observed(suite, task):
    env = suite.make_env(task)
    observation, _ = env.reset(seed=0)
    for kind, entries in (("state", suite.card.state), ("privileged", suite.card.privileged)):
        assert {name: len(value) for name, value in observation[kind].items()} == entries
        assert all(value.dtype == np.float32 for value in observation[kind].values())
    assert {k: v.shape[:2] for k, v in observation["images"].items()} == suite.card.cameras
    assert env.observe(images=False)["images"] == {}


@pytest.mark.parametrize("task", TASKS)
def test_an_episode_does_not_depend_on_what_ran_before(suite, task):
    first, second, third = suite.items(task, episodes=3, trials=1)
    used, fresh = suite.make_env(task), suite.make_env(task)
    forwards = [trace(used, item) for item in (first, second, third)]
    assert [trace(fresh, item) for item in (third, first, second)] == [
        forwards[2],
        forwards[0],
        forwards[1],
    ]
    assert len(set(forwards)) == 3


def test_another_process_plays_the_same_episode(suite):
    here = trace(suite.make_env("pick-red"), suite.items("pick-red")[4])
    script = (
        "from tests.suites.test_micro import *; s = suite_with();"
        "print(trace(s.make_env('pick-red'), s.items('pick-red')[4]))"
    )
    for seed in ("1", "2"):
        there = subprocess.run(
            [sys.executable, "-c", script],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        )
        assert there.stdout.strip() == here


def test_looking_changes_nothing(suite):
    item = suite.items("detour")[0]
    seen, unseen = suite.make_env("detour", render_mode="rgb_array"), suite.make_env("detour", ())
    for env in (seen, unseen):
        env.begin(item)
    for action in actions(40):
        seen.observe()
        seen.render()
        assert seen.advance(action) == unseen.advance(action)
        assert seen.state_bytes() == unseen.state_bytes()


@pytest.mark.parametrize("task", TASKS)
def test_train_and_val_are_different_worlds(task):
    val, train = suite_with(), suite_with(split="train")
    assert len(val.manifest(task)) == 300
    assert len(train.manifest(task)) >= 2000
    probes = []
    for suite in (val, train):
        env = suite.make_env(task, ())
        for item in suite.items(task):
            env.begin(item)
            probes.append(env.world_probe())
    assert len(set(probes)) == len(probes) == 600


def test_the_pick_tasks_differ_in_the_instruction_alone(suite):
    states = [suite.manifest(task)[5] for task in ("pick-red", "pick-blue")]
    assert states[0] == states[1]
    red, blue = (suite.make_env(task) for task in ("pick-red", "pick-blue"))
    red.begin(suite.items("pick-red")[5])
    blue.begin(suite.items("pick-blue")[5])
    assert red.world_probe() == blue.world_probe()
    np.testing.assert_array_equal(red.observe()["images"]["head"], blue.observe()["images"]["head"])
    assert red.world.layout.wanted != blue.world.layout.wanted


@pytest.mark.parametrize(
    ("option", "value"), [("split", "test"), ("push", "-0.1"), ("slip", "2.0"), ("slip", "nan")]
)
def test_an_option_out_of_range_is_a_users_mistake(option, value):
    with pytest.raises(UserError, match=f"suite.{option}={value}"):
        suite_with(**{option: value})


# The rules.


def test_a_ball_that_is_held_long_enough_is_a_success():
    world = world_of((0.32, 0.0, "red"))
    successes = []
    for _ in range(2 + HOLD_STEPS):
        play(world, [0, 0, 0, 0, CLOSE], 1)
        successes.append(world.success)
    assert successes[-1]
    assert sum(successes) <= 2
    assert world.balls[0] == world.tip
    play(world, [1, 1, 0, 0, CLOSE], 3)
    assert world.balls[0] == world.tip != (0.32, 0.0)


def test_a_ball_out_of_tolerance_is_missed_and_may_be_tried_again():
    world = world_of((0.3 + GRASP_TOLERANCE + 0.01, 0.0, "red"))
    openings = []
    for _ in range(10):
        play(world, [0, 0, 0, 0, CLOSE], 1)
        openings.append(world.opening)
        assert (world.held, world.wrong_object, world.success) == (None, False, False)
    assert {1.0} < set(openings)  # springs open and closes again
    play(world, [0, 0, 0, 0.5, OPEN], 1)
    play(world, [0, 0, 0, 0, CLOSE], 2 + HOLD_STEPS)
    assert world.success


def test_letting_go_early_is_no_success():
    world = world_of((0.3, 0.0, "red"))
    while world.held is None:
        play(world, [0, 0, 0, 0, CLOSE], 1)
    play(world, [0, 0, 0, 0, OPEN], 2)
    assert (world.held, world.held_steps, world.success) == (None, 0, False)


def test_a_wrong_object_fails_for_good():
    world = world_of((0.3, 0.0, "red"), (0.3, 0.1, "green"), wanted=(1,))
    play(world, [0, 0, 0, 0, CLOSE], 6)
    assert world.wrong_object
    assert not world.success
    play(world, [0, 0, 0, 0, OPEN], 3)
    world.balls = [(9.0, 9.0), world.tip]
    play(world, [0, 0, 0, 0, CLOSE], 6)
    assert world.held == 1
    assert world.wrong_object
    assert not world.success


@pytest.mark.parametrize("task", TASKS)
def test_either_ball_counts_or_only_the_named_one(suite, task):
    env = suite.make_env(task)
    for item in suite.items(task)[:20]:
        env.begin(item)
        colours = [env.world.layout.balls[row].colour for row in env.world.layout.wanted]
        named = [colour for colour in COLOURS if colour in item.instruction]
        assert colours == named * (2 if task == "either" else 1)


def test_driving_straight_at_the_post_collides_for_good(suite):
    env = suite.make_env("detour")
    for item in suite.items("detour")[:20]:
        env.begin(item)
        for _ in range(40):
            env.advance(np.array([1, 0, 0, 0, OPEN], np.float32))
        assert env.status()["collided"] is True
        before = env.state_bytes()
        assert not env.advance(np.array([-1, 0, 0, 0, OPEN], np.float32))
        assert env.state_bytes() == before
        assert env.status()["collided"] is True


def test_base_and_fingertip_collide_where_they_touch():
    reach = POST_RADIUS + BASE_RADIUS
    for aside, collides in ((reach - 0.01, True), (reach + 0.01, False)):
        world = world_of((5.0, 0.0, "red"), post=(1.0, aside))
        play(world, [1, 0, 0, 0, OPEN], 30)
        assert world.collided is collides
    world = world_of((5.0, 0.0, "red"), post=(0.25, 0.55))
    play(world, [0, 0, 1, 1, OPEN], 12)
    assert world.collided
    assert (world.x, world.y) == (0, 0)


def test_the_side_is_the_one_on_which_the_post_was_passed():
    for turn, side in ((1, 1.0), (-1, -1.0)):
        world = world_of((5.0, 0.0, "red"), post=(0.8, 0.0))
        play(world, [0, turn, 0, 0, OPEN], 5)
        assert world.side == 0
        play(world, [1, -turn * 0.2, 0, 0, OPEN], 30)
        assert (world.side, world.collided) == (side, False)


def test_values_outside_the_action_space_are_clipped(suite):
    item = suite.items("either")[0]
    wild, full = suite.make_env("either"), suite.make_env("either")
    for env, scale in ((wild, 7), (full, 1)):
        env.begin(item)
        env.advance(np.array([1, -1, 1, 1, -1], np.float32) * scale)
    assert wild.state_bytes() == full.state_bytes()


# Disturbances.


def positions(options, task="either", index=0):
    suite = suite_with(**options)
    env = suite.make_env(task)
    env.begin(suite.items(task)[index])
    probe, places = env.world_probe(), []
    for _ in range(30):
        env.advance(np.array([1, 0.1, 0.5, 0.5, OPEN], np.float32))
        places.append((env.world.x, env.world.y, env.world.swing))
    return probe, np.array(places)


@pytest.mark.parametrize("option", ["push", "slip"])
def test_disturbances_change_the_motion_and_not_the_start(option):
    calm_probe, calm = positions({"push": "0.0", "slip": "0.0"})
    probe, places = positions({"push": "0.0", "slip": "0.0", option: "0.2"})
    assert probe == calm_probe
    assert np.abs(places - calm).max() > 0.005


def test_the_push_comes_once_and_within_its_limit():
    for index in range(10):
        _, calm = positions({"push": "0.0", "slip": "0.0"}, index=index)
        _, places = positions({"push": "0.1", "slip": "0.0"}, index=index)
        gap = np.linalg.norm((places - calm)[:, :2], axis=1)
        sizes = set(np.round(gap, 9).tolist())
        assert len(sizes - {0.0}) == 1
        assert max(sizes) <= 0.1


def test_a_robot_at_rest_does_not_slip():
    suite = suite_with(push="0.0", slip="1.0")
    env = suite.make_env("either")
    env.begin(suite.items("either")[0])
    before = env.state_bytes()
    for _ in range(5):
        env.advance(np.array([0, 0, 0, 0, OPEN], np.float32))
    assert env.state_bytes() == before


def test_the_runs_seed_draws_other_disturbances_in_the_same_worlds(suite):
    env, probes, motions = suite.make_env("either"), set(), set()
    for seed in (0, 1):
        env.begin(suite.items("either", seed=seed)[0])
        probes.add(env.world_probe())
        for _ in range(10):
            env.advance(np.array([1, 0, 0, 0, OPEN], np.float32))
        motions.add(env.state_bytes())
    assert (len(probes), len(motions)) == (1, 2)


# Pictures.


def shows(image, colour):
    return (np.abs(image.astype(int) - colour).max(axis=-1) <= 3).any()


@pytest.mark.parametrize("task", TASKS)
def test_the_head_sees_every_ball_in_its_colour(suite, task):
    env = suite.make_env(task)
    for item in suite.items(task)[:20]:
        env.begin(item)
        image = env.observe()["images"]["head"]
        present = {ball.colour for ball in env.world.layout.balls}
        assert {name for name, rgb in COLOURS.items() if shows(image, rgb)} == present


def test_the_wrist_sees_the_ball_at_the_fingertip_only():
    from vla_bench.suites.micro import pictures

    near, far = world_of((0.31, 0.0, "blue")), world_of((1.2, 0.0, "blue"))
    assert shows(pictures.seen(near, pictures.view_of("wrist", near, 64)), COLOURS["blue"])
    assert not shows(pictures.seen(far, pictures.view_of("wrist", far, 64)), COLOURS["blue"])


@pytest.mark.parametrize("camera", ["head", "wrist"])
def test_a_moved_ball_changes_the_picture(camera):
    from vla_bench.suites.micro import pictures

    worlds = (world_of((0.4, y, "red"), post=(0.9, 0.0)) for y in (0.0, 0.02))
    here, there = (
        pictures.seen(world, pictures.view_of(camera, world, 64)).astype(int) for world in worlds
    )
    assert np.abs(here - there).max() > 20


def test_the_head_looks_where_the_robot_is_heading():
    from vla_bench.suites.micro import pictures

    world = world_of((1.0, 0.6, "red"))
    columns = []
    for _ in range(2):
        image = pictures.seen(world, pictures.view_of("head", world, 64)).astype(int)
        rows, found = np.nonzero(np.abs(image - COLOURS["red"]).max(axis=-1) <= 3)
        columns.append(found.mean())
        assert rows.mean() < 40
        play(world, [0, 1, 0, 0, OPEN], 7)
    assert columns[0] < 25  # to the left
    assert columns[1] > 30  # having turned left by a radian, to the right


def test_a_changed_world_is_a_new_version_of_the_suite(suite):
    """If this fails, raise `version` in suites/micro.toml, then write the new digest here."""
    probes = []
    for task in TASKS:
        env = suite.make_env(task, ())
        for item in suite.items(task)[:10]:
            env.begin(item)
            for action in actions(20):
                env.advance(action)
            probes.append(env.world_probe())
    assert (suite.card.version, digest(probes)) == (1, "7060f2df546789c5")


def test_initial_states_are_plain_json(suite):
    state = suite.manifest("detour")[17]
    assert json.loads(json.dumps(state)) == state == {"split": "val", "draw": 17}
