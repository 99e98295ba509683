"""When is a SetTable subtask done: the official success rules, with their thresholds.

Checked once per control step. Comparisons are the official ones, odd ones included: velocities are
compared signed, joint angles are not wrapped, and force counts the last physics substep only.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import sapien
from numpy.typing import NDArray
from sapien.physx import PhysxContact

from vla_bench.suites.ms_hab.dataset import Subtask

FloatArray = NDArray[np.floating]

REST_QPOS = np.array([0.386, 0, -0.370, 0.562, -1.032, 0.695, 0.955, -0.1, 2.077, 0], np.float32)
"""(10,) torso, head and arm joints of the rest keyframe (m and rad), qpos[3:13]."""
EE_REST = sapien.Pose([0.5, 0, 1.25])
"""Where the gripper rests, in the base frame (m)."""
EE_REST_RADIUS = 0.05
GOAL_RADIUS = 0.15
REST_TOLERANCE = 0.2
REST_TOLERANCE_GRASPING = 0.6
TORSO_TOLERANCE = 0.01
JOINT_SPEED = 0.2
BASE_SPEED = 0.05
GRASP_FORCE = 0.5
GRASP_ANGLE = 30.0
FORCE_LIMIT: dict[Subtask, float] = {"pick": 5000, "place": 7500, "open": 10_000, "close": 10_000}
"""Limit of the contact force on the robot, fingers excluded, added up over control steps (N)."""
OPEN_FRACTION = {"fridge": 0.75, "kitchen_counter": 0.9}
CLOSED_FRACTION = 0.01


@dataclass(frozen=True)
class Contacts:
    """The contacts of the last physics substep."""

    contacts: list[PhysxContact]
    timestep: float

    def robot_force(self, links: set[sapien.Entity]) -> float:
        """Sum over links of the norm of the net contact force on each (N)."""
        total: dict[sapien.Entity, FloatArray] = {}
        for contact in self.contacts:
            first, second = contact.bodies[0].entity, contact.bodies[1].entity
            # A contact between two counted links counts for the first alone, as officially.
            if first in links:
                total[first] = total.get(first, 0) + _impulse(contact)
            elif second in links:
                total[second] = total.get(second, 0) - _impulse(contact)
        return float(sum(np.linalg.norm(impulse) for impulse in total.values())) / self.timestep

    def force_between(self, body: sapien.Entity, other: sapien.Entity) -> FloatArray:
        """Force of `other` on `body` (N), (3,)."""
        total = np.zeros(3)
        for contact in self.contacts:
            first, second = contact.bodies[0].entity, contact.bodies[1].entity
            if first == body and second == other:
                total = total + _impulse(contact)
            elif first == other and second == body:
                total = total - _impulse(contact)
        return total / self.timestep


def _impulse(contact: PhysxContact) -> FloatArray:
    impulse: FloatArray = np.sum([point.impulse for point in contact.points], axis=0)
    return impulse


def grasped(forces: Iterable[FloatArray], left: sapien.Pose, right: sapien.Pose) -> bool:
    """Whether both fingers press on a body, within 30 degrees of their opening direction.

    Args:
        forces: (3,) force of the body on the left, then on the right finger (N).
        left: Pose of the left finger.
        right: Pose of the right finger.
    """
    directions = (
        -left.to_transformation_matrix()[:3, 1],
        right.to_transformation_matrix()[:3, 1],
    )
    return all(_presses(*pressed) for pressed in zip(forces, directions, strict=True))


def _presses(force: FloatArray, direction: FloatArray) -> bool:
    size = float(np.linalg.norm(force))
    if size < GRASP_FORCE:
        return False
    cosine = float(np.clip(force @ direction / (size * np.linalg.norm(direction)), -1, 1))
    return bool(np.rad2deg(np.arccos(cosine)) <= GRASP_ANGLE)


def gripper_at_rest(base: sapien.Pose, tcp: sapien.Pose) -> bool:
    """Whether the gripper is within 5 cm of its resting place."""
    return bool(np.linalg.norm(tcp.p - (base * EE_REST).p) <= EE_REST_RADIUS)


def robot_at_rest(qpos: FloatArray, grasping: bool) -> bool:
    """Whether the joints are near the rest keyframe.

    Args:
        qpos: (15,) all joints of the robot.
        grasping: The looser tolerance of a robot that holds an object (pick).
    """
    distance = np.abs(qpos[3:13] - REST_QPOS)
    if grasping:
        return bool(np.all(distance < REST_TOLERANCE_GRASPING))
    return bool(np.all(distance[1:] < REST_TOLERANCE) and distance[0] < TORSO_TOLERANCE)


def robot_static(qvel: FloatArray) -> bool:
    """Whether the robot stands still; only positive velocities count, as officially.

    Args:
        qvel: (15,) joint velocities.
    """
    return bool(np.all(qvel[3:13] <= JOINT_SPEED) and np.all(qvel[:3] <= BASE_SPEED))


def at_goal(position: FloatArray, goal: FloatArray) -> bool:
    """Whether an object is within 15 cm of its goal; both (3,) m in the world frame."""
    return bool(np.linalg.norm(position - goal) <= GOAL_RADIUS)


def joint_done(value: float, limits: FloatArray, kind: str, subtask: Subtask) -> bool:
    """Whether a door or drawer is open (or closed) enough.

    Args:
        value: The joint's position (rad or m).
        limits: (2,) lower and upper.
        kind: `fridge` or `kitchen_counter`.
        subtask: `open` or `close`.
    """
    lower, upper = limits
    if subtask == "open":
        return bool(value > lower + OPEN_FRACTION[kind] * (upper - lower))
    return bool(value < lower + CLOSED_FRACTION * (upper - lower))
