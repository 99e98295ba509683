"""Bringing a point that moves with the base, such as where the gripper will be, over a world point.

The base cannot move sideways. So it turns until the world point lies straight ahead of the moving
one, and drives the rest; done anew at every step, this steers out all errors on the way.
"""

import math

import numpy as np

from vla_bench.policies.expert.base_drive import BaseMotion, drive_straight
from vla_bench.policies.expert.robot_state import RobotState
from vla_bench.policies.expert.rotations import Array, matrix_about_z


def stance_ahead(base_pose: Array, point: Array, point_in_base: Array) -> Array:
    """Returns the stance that one turn on the spot and one straight drive lead to.

    Args:
        base_pose: (3,) x, y (m), yaw (rad) of the base now, world.
        point: (2,) or (3,) point of the world (m).
        point_in_base: (2,) or (3,) point of base_link (m) that shall come over or under it.

    Returns:
        (3,) base pose in the world.
    """
    offset = np.asarray(point, dtype=np.float64)[:2] - base_pose[:2]
    distance = max(float(np.hypot(*offset)), 1e-6)
    aside = math.asin(float(np.clip(point_in_base[1] / distance, -1.0, 1.0)))
    yaw = math.atan2(offset[1], offset[0]) - aside
    lever = matrix_about_z(yaw)[:2, :2] @ np.asarray(point_in_base, dtype=np.float64)[:2]
    return np.array([*(np.asarray(point, dtype=np.float64)[:2] - lever), yaw])


def drive_ahead(state: RobotState, point: Array, point_in_base: Array) -> BaseMotion:
    """Turns and drives so that `point_in_base` comes over the world's `point`; call every step."""
    return drive_straight(state, stance_ahead(state.base_pose, point, point_in_base))


def behind(state: RobotState, distance: float) -> Array:
    """Returns the base pose (3,) that lies `distance` (m) straight behind the present one."""
    heading = np.array([math.cos(state.yaw), math.sin(state.yaw), 0.0])
    return state.base_pose - distance * heading
