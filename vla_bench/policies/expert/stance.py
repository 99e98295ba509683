"""Where to stand so that a point fixed in the base frame comes to lie on a point of the world."""

import math

import numpy as np

from vla_bench.policies.expert.rotations import Array, matrix_about_z


def stance_straight_ahead(base_pose: Array, point: Array, point_in_base: Array) -> Array:
    """Returns the stance that is reached by one turn on the spot and one straight drive.

    The base cannot move sideways, so this is the stance that costs least steering.

    Args:
        base_pose: (3,) x, y (m), yaw (rad) of the base now, world.
        point: (2,) or (3,) point of the world (m), further away than `point_in_base`'s y.
        point_in_base: (2,) or (3,) point (m) in base_link that shall meet it.

    Returns:
        (3,) base pose in the world.
    """
    offset = np.asarray(point, dtype=np.float64)[:2] - base_pose[:2]
    distance = float(np.hypot(*offset))
    aside = math.asin(float(np.clip(point_in_base[1] / distance, -1.0, 1.0)))
    return stance_facing(point, point_in_base, math.atan2(offset[1], offset[0]) - aside)


def stance_facing(point: Array, point_in_base: Array, yaw: float) -> Array:
    """Returns the base pose (3,) of heading `yaw` (rad) for which `point_in_base` meets `point`."""
    lever = matrix_about_z(yaw)[:2, :2] @ np.asarray(point_in_base, dtype=np.float64)[:2]
    place = np.asarray(point, dtype=np.float64)[:2] - lever
    return np.array([place[0], place[1], yaw])
