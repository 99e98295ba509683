"""What a controller needs to know of the robot at one control step, taken from the observation."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from vla_bench.policies.expert.kinematics import Chain, fetch_kinematics
from vla_bench.policies.expert.rotations import Array, matrix_about_z

POSTURE_IN_QPOS = np.array([0, 2, 4, 5, 6, 7, 8, 9])
"""Where the posture's joints lie in the 12-d `qpos` (whose entries 1 and 3 are the head)."""


@dataclass(frozen=True)
class RobotState:
    """Joint and base state at one control step."""

    posture: Array
    """(8,) torso (m) and arm joints (rad)."""
    posture_velocity: Array
    """(8,) m/s and rad/s."""
    fingers: Array
    """(2,) finger openings (m)."""
    base_pose: Array
    """(3,) x, y (m), yaw (rad) of base_link in the world."""
    base_velocity: Array
    """(3,) world x, y velocity (m/s) and yaw rate (rad/s)."""
    chain: Chain
    """Link frames at `posture`, in base_link."""

    @classmethod
    def from_observation(cls, observation: Mapping[str, Array]) -> "RobotState":
        """Reads `qpos` (12,), `qvel` (12,), `base_pose` (3,) and `base_velocity` (3,)."""
        qpos, qvel, base_pose, base_velocity = (
            np.asarray(observation[key], dtype=np.float64)
            for key in ("qpos", "qvel", "base_pose", "base_velocity")
        )
        posture = qpos[POSTURE_IN_QPOS]
        return cls(
            posture=posture,
            posture_velocity=qvel[POSTURE_IN_QPOS],
            fingers=qpos[10:12],
            base_pose=base_pose,
            base_velocity=base_velocity,
            chain=fetch_kinematics().forward(posture),
        )

    @property
    def yaw(self) -> float:
        """Heading of the base in the world (rad)."""
        return float(self.base_pose[2])

    @property
    def forward_speed(self) -> float:
        """Speed along the heading (m/s)."""
        return float(
            self.base_velocity[0] * math.cos(self.yaw) + self.base_velocity[1] * math.sin(self.yaw)
        )

    @property
    def base_rotation(self) -> Array:
        """(3, 3) rotation from base_link to the world."""
        return matrix_about_z(self.yaw)

    @property
    def tcp_position(self) -> Array:
        """(3,) tcp in the world (m), taking the floor as the height of base_link."""
        return self.to_world(self.chain.tcp_position)

    @property
    def tcp_rotation(self) -> Array:
        """(3, 3) rotation of the tcp in the world."""
        return self.base_rotation @ self.chain.tcp_rotation

    def to_world(self, point: Array) -> Array:
        """Returns a base_link point (3,) in the world (m)."""
        world: Array = self.base_rotation @ np.asarray(point, dtype=np.float64)
        world[:2] += self.base_pose[:2]
        return world
