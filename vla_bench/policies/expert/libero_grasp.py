"""Where to take hold of a thing seen as an oriented box, with a gripper that points straight down."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from vla_bench.policies.expert.rotations import Array, matrix_from_quaternion

OPENING = 0.074
"""Widest thing (m) that is taken between the fingers; they open to 0.08."""
TIP = 0.014
"""m: how far the fingertips reach below the tcp, with some air."""
DEPTH = 0.035
"""m: at most so far below a thing's top lies the tcp, or the palm would touch."""
RIM_DEPTH = 0.016
"""m: the tcp's depth below a rim."""
RIM_INSET = 0.006
"""m: a rim's wall lies so far inside of the box around it."""
BASE = np.array([-0.64, 0.0])
"""x, y (m) of the robot's base, within centimetres, in every LIBERO world."""
EASY_REACH = 0.7
"""m from the base: farther out the arm is nearly straight."""
EASY_YAW, YAW_RANGE = math.pi / 4, 0.6 * math.pi
"""rad: the angle at which the last joint is in the middle of its range, and how far it may be left."""
ROUND = 1.1
"""Sides that differ by less than this ratio belong to a round thing."""


@dataclass(frozen=True)
class Box:
    """An oriented box in the world."""

    position: Array
    """(3,) origin of the thing's frame (m)."""
    rotation: Array
    """(3, 3) its axes."""
    centre: Array
    """(3,) middle of the box (m)."""
    half: Array
    """(3,) half extents along the axes (m)."""

    @property
    def rise(self) -> float:
        """Half of its height (m) as it lies."""
        return float(np.abs(self.rotation[2]) @ self.half)

    @property
    def top(self) -> float:
        """Height of its highest point (m)."""
        return float(self.centre[2]) + self.rise

    @property
    def bottom(self) -> float:
        """Height of its lowest point (m)."""
        return float(self.centre[2]) - self.rise

    def sides(self) -> list[tuple[Array, float]]:
        """The two axes that lie flattest, as horizontal unit vectors (3,), with their half extents."""
        flattest = np.argsort(np.abs(self.rotation[2]))[:2]
        found = []
        for axis in sorted(flattest.tolist()):
            direction = self.rotation[:, axis] * np.array([1.0, 1.0, 0.0])
            found.append((direction / np.linalg.norm(direction), float(self.half[axis])))
        return found


@dataclass(frozen=True)
class Grasp:
    """Where the gripper is to close."""

    point: Array
    """(3,) of the tcp (m)."""
    yaw: float
    """Angle of the gripper about the vertical (rad); at 0 the fingers close along y."""


def box_of(pose: Array, box: Array) -> Box:
    """Returns the box in the world of a thing's pose (7,) and its box (6,) in its own frame."""
    rotation = matrix_from_quaternion(pose[3:])
    position = np.asarray(pose[:3], dtype=np.float64)
    centre = position + rotation @ np.asarray(box[:3], dtype=np.float64)
    return Box(position, rotation, centre, np.asarray(box[3:], dtype=np.float64))


def choose_grasp(thing: Box, goal: Box, yaw: float, hint: float | None, attempt: int) -> Grasp:
    """Returns the grasp that fits the thing; the next best one with every further attempt.

    Args:
        thing: What is to be taken.
        goal: Where it is to go: the arm must reach there too.
        yaw: The gripper's present angle (rad).
        hint: Where on a round rim to take it first (rad, direction from its middle in the world).
        attempt: How many grasps failed so far.
    """
    across = [direction for direction, half in thing.sides() if 2 * half <= OPENING]
    if across:
        grasps = [_across(thing, direction, yaw) for direction in across]
        grasps.sort(key=lambda grasp: abs(grasp.yaw - yaw))
    else:
        grasps = _rims(thing, yaw)
        grasps.sort(key=lambda grasp: _cost(grasp, thing, goal))
        if hint is not None:
            grasps.insert(0, _rim(thing, np.array([math.cos(hint), math.sin(hint), 0.0]), yaw))
    return grasps[attempt % len(grasps)]


def yaw_across(direction: Array, yaw: float) -> float:
    """Returns the angle nearest to `yaw` (rad), half turns being equal, at which the fingers close
    along the horizontal `direction` (3,).
    """
    angle = math.atan2(-direction[0], direction[1])
    turned = yaw + _half_turn(angle - yaw)
    if abs(turned - EASY_YAW) <= YAW_RANGE:
        return turned
    return EASY_YAW + _half_turn(angle - EASY_YAW)


def _half_turn(angle: float) -> float:
    """The angle (rad) on (-pi/2, pi/2], half turns being equal."""
    return math.pi / 2 - (math.pi / 2 - angle) % math.pi


def _across(thing: Box, direction: Array, yaw: float) -> Grasp:
    height = max(float(thing.centre[2]), thing.top - DEPTH, thing.bottom + TIP)
    return Grasp(np.array([*thing.centre[:2], height]), yaw_across(direction, yaw))


def _rims(thing: Box, yaw: float) -> list[Grasp]:
    sides = sorted(thing.sides(), key=lambda side: side[1])
    directions = [direction for direction, _ in sides]
    if sides[1][1] > ROUND * sides[0][1]:
        # A mug's handle makes one side longer: its wall is at the ends of the shorter one.
        directions = directions[:1]
    else:
        directions = [np.array([0.0, 1.0, 0.0]), np.array([1.0, 0.0, 0.0])]
    return [_rim(thing, sign * d, yaw) for d in directions for sign in (-1.0, 1.0)]


def _rim(thing: Box, direction: Array, yaw: float) -> Grasp:
    radius = min(half for _, half in thing.sides()) - RIM_INSET
    height = max(thing.top - RIM_DEPTH, thing.bottom + TIP)
    point = np.array([*(thing.centre + radius * direction)[:2], height])
    return Grasp(point, yaw_across(direction, yaw))


def _cost(grasp: Grasp, thing: Box, goal: Box) -> float:
    """What a grasp costs: stretching the arm, there or at the goal, and a little for turning."""
    stretch = sum(
        max(float(np.hypot(*(point - BASE))) - EASY_REACH, 0.0)
        for point in (grasp.point[:2], (goal.position + grasp.point - thing.position)[:2])
    )
    return stretch + 0.02 * abs(grasp.yaw)
