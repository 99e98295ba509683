"""LIBERO's expert: its grasps, its way, and a whole episode in a world of points."""

from __future__ import annotations

from math import pi

import numpy as np
import pytest

from vla_bench.errors import UserError
from vla_bench.items import WorkItem
from vla_bench.policies.base import Observation
from vla_bench.policies.expert import libero
from vla_bench.policies.expert.libero_grasp import box_of, choose_grasp, yaw_across
from vla_bench.policies.expert.rotations import (
    matrix_about_z,
    matrix_from_vector,
    rotation_vector,
)

UPRIGHT = [1.0, 0.0, 0.0, 0.0]
GOAL = box_of(np.array([0.0, 0.2, 0.0, *UPRIGHT]), np.array([0, 0, 0, 0.06, 0.06, 0.002]))


def thing(x, y, z, half, quaternion=UPRIGHT):
    return box_of(np.array([x, y, z, *quaternion]), np.array([0, 0, 0, *half]))


def about_z(angle):
    return [np.cos(angle / 2), 0.0, 0.0, np.sin(angle / 2)]


def item(task):
    return WorkItem(
        suite="libero-object",
        version=1,
        task=task,
        trial=0,
        index=0,
        seed=0,
        instruction="",
        initial_state={},
    )


def grasp(box, yaw=0.0, hint=None, attempt=0):
    return choose_grasp(box, GOAL, yaw, hint, attempt)


def test_a_narrow_thing_is_taken_across_its_short_side():
    found = grasp(thing(-0.1, 0.0, 0.02, [0.05, 0.02, 0.02]))
    assert found.yaw == pytest.approx(0.0)
    assert found.point == pytest.approx([-0.1, 0.0, 0.02])


@pytest.mark.parametrize("angle", [-0.6, 0.3, 0.7, pi - 0.3])
def test_the_gripper_turns_with_the_thing(angle):
    found = grasp(thing(-0.1, 0.0, 0.02, [0.05, 0.02, 0.02], about_z(angle)))
    assert np.sin(found.yaw - angle) == pytest.approx(0.0, abs=1e-9)
    assert -0.35 * pi - 1e-9 <= found.yaw <= 0.85 * pi + 1e-9


def test_a_lying_bottle_is_seen_as_it_lies():
    standing = thing(-0.1, 0.0, 0.07, [0.02, 0.02, 0.07])
    lying = thing(-0.1, 0.0, 0.02, [0.02, 0.02, 0.07], [np.sqrt(0.5), np.sqrt(0.5), 0.0, 0.0])
    assert grasp(standing).point[2] == pytest.approx(0.14 - 0.035)
    assert lying.top == pytest.approx(0.04)
    # Its length lies along y, where the fingers do not span it.
    assert abs(np.sin(grasp(lying).yaw)) == pytest.approx(1.0)


def test_the_fingertips_stay_above_the_table():
    assert grasp(thing(-0.1, 0.0, 0.008, [0.04, 0.02, 0.008])).point[2] == pytest.approx(0.014)


def test_a_bowl_is_taken_by_its_rim_and_elsewhere_after_a_miss():
    bowl = thing(-0.2, 0.0, 0.03, [0.055, 0.055, 0.03])
    tried = [grasp(bowl, attempt=attempt) for attempt in range(4)]
    for found in tried:
        radial = (found.point - bowl.centre)[:2]
        assert np.hypot(*radial) == pytest.approx(0.049)
        # The fingers close along the radius.
        closing = matrix_about_z(found.yaw)[:2, 1]
        assert abs(closing @ radial) == pytest.approx(0.049)
    assert len({tuple(found.point.round(6)) for found in tried}) == 4
    hinted = grasp(bowl, hint=pi / 4)
    assert (hinted.point - bowl.centre)[:2] == pytest.approx([0.049 / np.sqrt(2)] * 2)


def test_a_far_bowl_is_taken_on_the_robots_side():
    bowl = thing(0.15, 0.0, 0.03, [0.055, 0.055, 0.03])
    assert grasp(bowl).point[0] < bowl.centre[0] - 0.04


def test_a_mug_is_taken_beside_its_handle():
    mug = thing(-0.2, 0.0, 0.05, [0.065, 0.048, 0.05])
    assert grasp(mug).point[0] == pytest.approx(-0.2)


def test_the_nearest_of_equal_yaws_is_kept():
    along_x = np.array([1.0, 0.0, 0.0])
    assert yaw_across(along_x, 1.4) == pytest.approx(pi / 2)
    assert yaw_across(np.array([0.0, 1.0, 0.0]), 0.1) == pytest.approx(0.0)


@pytest.mark.parametrize(
    "task",
    [
        "open-the-middle-drawer-of-the-cabinet",
        "turn-on-the-stove",
        "push-the-plate-to-the-front-of-the-stove",
        "open-the-top-drawer-and-put-the-bowl-inside",
        "kitchen-scene6-put-the-yellow-and-white-mug-in-the-microwave-and-close-it",
    ],
)
def test_what_is_no_carrying_is_refused(task):
    with pytest.raises(UserError, match=f"no expert for {task}"):
        libero.start(item(task))


def test_a_bowl_in_an_open_drawer_is_accepted():
    libero.start(
        item(
            "pick-up-the-black-bowl-in-the-top-drawer-of-the-wooden-cabinet-and-place-it-on-the-plate"
        )
    )


class Points:
    """A world without mass: the gripper goes where it is told, and what it closes on comes along."""

    def __init__(self, half, goal_half, slips_at=None):
        self.tcp, self.rotation = np.array([-0.15, 0.0, 0.25]), libero.DOWN
        self.opening, self.grasped = 0.08, False
        self.half, self.goal_half = np.array(half), np.array(goal_half)
        self.thing, self.goal = np.array([-0.1, -0.2, half[2]]), np.array([0.0, 0.25, goal_half[2]])
        self.step, self.slips_at = 0, slips_at

    def observation(self, task):
        self.step += 1
        state = {
            "tcp_position": self.tcp,
            "tcp_rotation": rotation_vector(self.rotation),
            "gripper_qpos": np.array([self.opening / 2, -self.opening / 2]),
        }
        privileged = {
            "object_pose": np.array([*self.thing, *UPRIGHT]),
            "object_box": np.array([0, 0, 0, *self.half]),
            "goal_pose": np.array([*self.goal, *UPRIGHT]),
            "goal_box": np.array([0, 0, 0, *self.goal_half]),
            "is_grasped": np.array([float(self.grasped)]),
        }
        shown = [{k: v.astype(np.float32) for k, v in d.items()} for d in (state, privileged)]
        return Observation(item(task), self.step, "", {}, *shown)

    def advance(self, action):
        assert action.dtype == np.float32
        assert action.shape == (7,)
        assert np.abs(action).max() <= 1
        before = self.tcp
        self.tcp = self.tcp + 0.015 * action[:3]
        self.rotation = matrix_from_vector(0.15 * action[3:6]) @ self.rotation
        width = 2 * self.half[1]
        beside = np.abs(self.tcp - self.thing)[:2].max() < 0.012
        beside = beside and self.tcp[2] < self.thing[2] + self.half[2]
        self.opening = float(np.clip(self.opening - 0.01 * action[6], 0.0, 0.08))
        if beside:
            self.opening = max(self.opening, width)
        self.grasped = beside and self.opening <= width
        if self.step == self.slips_at:
            self.grasped = False
            self.tcp = self.tcp + np.array([0.0, 0.0, 0.1])
        if self.grasped:
            self.thing = self.thing + (self.tcp - before)
        else:
            self.thing[2] = self.half[2]


@pytest.mark.parametrize("slips_at", [None, 50, 70])
def test_the_thing_gets_there(slips_at):
    world = Points([0.03, 0.02, 0.02], [0.06, 0.06, 0.07], slips_at)
    act = libero.start(item("pick-up-the-butter-and-place-it-in-the-basket"))
    for _ in range(250):
        world.advance(act(world.observation("x")))
        if np.all(np.abs(world.thing - world.goal) < world.goal_half):
            break
    assert np.all(np.abs(world.thing - world.goal) < world.goal_half)


def test_the_way_has_no_jerks():
    world = Points([0.03, 0.02, 0.02], [0.06, 0.06, 0.07])
    act = libero.start(item("pick-up-the-butter-and-place-it-in-the-basket"))
    actions = []
    for _ in range(90):
        actions.append(act(world.observation("x")))
        world.advance(actions[-1])
    commands = np.stack(actions)
    assert np.abs(np.diff(commands[:, :3], axis=0)).max() <= 1.0
    # The fingers change their mind once: they close.
    assert np.count_nonzero(np.diff(commands[:, 6])) == 1
