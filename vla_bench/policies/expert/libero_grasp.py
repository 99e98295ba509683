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


def choose_grasp(thing: Box, tcp: Array, yaw: float) -> Grasp:
    """Returns the grasp that fits the thing and asks for the least turn from the present yaw.

    Args:
        thing: What is to be taken.
        tcp: (3,) where the gripper is (m).
        yaw: The gripper's angle (rad).
    """
    across = [direction for direction, half in thing.sides() if 2 * half <= OPENING]
    if across:
        return min(
            (_across(thing, direction, yaw) for direction in across),
            key=lambda grasp: abs(grasp.yaw - yaw),
        )
    return _rim(thing, tcp, yaw)


def yaw_across(direction: Array, yaw: float) -> float:
    """Returns the angle nearest to `yaw` (rad), half turns being equal, at which the fingers close
    along the horizontal `direction` (3,).
    """
    angle = math.atan2(-direction[0], direction[1])
    # The wrist turns about a quarter to both sides of 0, no further.
    turned = yaw + _half_turn(angle - yaw)
    return turned if abs(turned) <= 0.6 * math.pi else _half_turn(angle)


def _half_turn(angle: float) -> float:
    """The angle (rad) on (-pi/2, pi/2], half turns being equal."""
    return math.pi / 2 - (math.pi / 2 - angle) % math.pi


def _across(thing: Box, direction: Array, yaw: float) -> Grasp:
    height = max(float(thing.centre[2]), thing.top - DEPTH, thing.bottom + TIP)
    return Grasp(np.array([*thing.centre[:2], height]), yaw_across(direction, yaw))


def _rim(thing: Box, tcp: Array, yaw: float) -> Grasp:
    sides = sorted(thing.sides(), key=lambda side: side[1])
    # A mug's handle makes one side longer: its wall is at the ends of the shorter one.
    if sides[1][1] > ROUND * sides[0][1]:
        sides = sides[:1]
    candidates = [
        (sign * direction, half, yaw_across(direction, yaw))
        for direction, half in sides
        for sign in (1.0, -1.0)
    ]
    height = max(thing.top - RIM_DEPTH, thing.bottom + TIP)
    grasps = [
        Grasp(np.array([*(thing.centre + (half - RIM_INSET) * direction)[:2], height]), angle)
        for direction, half, angle in candidates
    ]
    # A radian of turning counts as 0.2 m of way.
    return min(
        grasps,
        key=lambda grasp: float(np.hypot(*(grasp.point - tcp)[:2])) + 0.2 * abs(grasp.yaw - yaw),
    )
