"""The privileged entries of a view, brought from the base frame into the world."""

import numpy as np

from vla_bench.policies.expert.rotations import Array, matrix_from_quaternion
from vla_bench.policies.expert.script import View

UP: Array = np.array([0.0, 0.0, 1.0])


def world_point(view: View, name: str) -> Array:
    """Returns the position (3,) (m) that the entry `name` starts with."""
    return view.robot.to_world(np.asarray(view.privileged[name][:3], dtype=np.float64))


def world_rotation(view: View, name: str) -> Array:
    """Returns the rotation (3, 3) of the pose `name` (position and quaternion wxyz)."""
    return view.robot.base_rotation @ matrix_from_quaternion(view.privileged[name][3:])
