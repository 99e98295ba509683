"""The rest condition with which every MS-HAB success test ends (spec s.4)."""

import numpy as np

from vla_bench.policies.expert.kinematics import REST_POSTURE
from vla_bench.policies.expert.robot_state import RobotState
from vla_bench.policies.expert.rotations import Array

REST_TCP: Array = np.array([0.5, 0.0, 1.25])
"""Point in base_link where the tcp must be (m)."""


def at_rest(
    state: RobotState, *, arm_tolerance: float = 0.2, torso_tolerance: float = 0.01
) -> bool:
    """Says whether the posture and velocities pass the place/open/close tests, with unsigned
    velocities.

    The official test compares signed velocities; the stricter reading here does not depend on that.
    """
    error = np.abs(state.posture - REST_POSTURE)
    return bool(
        error[0] < torso_tolerance
        and np.all(error[1:] < arm_tolerance)
        and np.linalg.norm(state.chain.tcp_position - REST_TCP) <= 0.05
        and np.all(np.abs(state.posture_velocity) <= 0.2)
        and np.all(np.abs(state.base_velocity) <= 0.05)
    )
