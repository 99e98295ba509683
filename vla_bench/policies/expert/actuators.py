"""How the Fetch answers an action: measured one-step models and their inverses.

The action (13,) in [-1, 1] is: seven arm deltas (0.1 rad added to the CURRENT angle), the absolute
gripper target, head pan and tilt (always zero), the torso delta (0.1 m), base forward (1 m/s) and
base yaw (3.14 rad/s). One control step is 50 ms. The constants were fitted to random actions in an
empty scene; `tests/policies/test_expert_motion.py` checks them against the simulator.
"""

import numpy as np
import numpy.typing as npt

from vla_bench.policies.expert.robot_state import RobotState
from vla_bench.policies.expert.rotations import Array

Action = npt.NDArray[np.float32]

STEP = 0.05
"""Length of a control step (s)."""

DELTA = 0.1
"""Joint delta of a full action (rad or m)."""

# The PD drive is so damped that a joint at speed covers 39 % of its delta in a step. From
# standstill the heavy joints (shoulder) cover 28 %, and run on by as much afterwards. Inverting
# that lag joint by joint rings, because inertia depends on the posture; the steady gain plus
# feedback on position does not.
ARM_GAIN = 0.393

ARM_RATE = 0.0393
"""Steady displacement of an arm joint per step at full action (rad)."""
ARM_PACE = 0.0216
"""What the experts use of it (rad): learned policies follow unhurried demonstrations better."""

# The torso carries the arm: velocity after a step = TORSO_PUSH * delta + TORSO_KEEP * velocity.
TORSO_PUSH = 1.62
TORSO_KEEP = 0.785
TORSO_EASE = 0.6
"""Share of the wanted speed change made at once: all of it would answer every jolt of the arm."""

# Base: forward velocity after a step = FORWARD_KEEP * v + (1 - FORWARD_KEEP) * command, the drive's
# force limit letting it change by at most FORWARD_CHANGE (m/s). The yaw drive answers within a
# step.
FORWARD_KEEP = 0.665
FORWARD_CHANGE = 0.2
MAX_FORWARD = 1.0
YAW_GAIN = 0.0436
YAW_COAST = 0.006
MAX_YAW = 3.14

GRIPPER_OPEN = 1.0
GRIPPER_CLOSED = -1.0


def gripper_action(opening: float) -> float:
    """Returns the gripper's action for a finger opening (m, each finger, in [-0.01, 0.05])."""
    return float(np.clip((opening + 0.01) / 0.03 - 1.0, -1.0, 1.0))


def posture_limits(state: RobotState, arm_rate: float) -> tuple[Array, Array]:
    """Returns the least and greatest displacement (8,) that the next step allows each posture
    joint, arm joints `arm_rate` (rad) at most.

    The torso's entries are the end-of-step velocity times the step, because its displacement within
    one step hardly depends on the action (see `posture_action`).
    """
    coast, reach = np.zeros(8), np.full(8, arm_rate)
    coast[0], reach[0] = TORSO_KEEP * state.posture_velocity[0] * STEP, TORSO_PUSH * DELTA * STEP
    return coast - reach, coast + reach


def base_limits(state: RobotState) -> tuple[Array, Array]:
    """Returns the least and greatest (forward m, yaw rad) per step that the base can do next."""
    speed = state.forward_speed
    low = np.array([max(speed - FORWARD_CHANGE, -MAX_FORWARD) * STEP, -MAX_YAW * STEP])
    high = np.array([min(speed + FORWARD_CHANGE, MAX_FORWARD) * STEP, MAX_YAW * STEP])
    return low, high


def posture_action(state: RobotState, displacement: Array) -> Array:
    """Returns the deltas in [-1, 1] (8,) that make the posture move by `displacement` in the next
    step.

    Args:
        state: present state.
        displacement: (8,) m and rad. The torso's is read as a velocity (displacement per step):
            solving for its displacement in one step would ring, as its mass makes it lag.
    """
    delta = displacement / ARM_GAIN
    drift = TORSO_KEEP * state.posture_velocity[0]
    delta[0] = TORSO_EASE * (displacement[0] / STEP - drift) / TORSO_PUSH
    clipped: Array = np.clip(delta / DELTA, -1.0, 1.0)
    return clipped


def base_action(state: RobotState, motion: Array, lead: float) -> Array:
    """Returns (forward, yaw) actions in [-1, 1] for a motion of (forward m, yaw rad) per step.

    Args:
        state: present state.
        motion: (2,) wanted.
        lead: share of the forward drive's lag that the command makes up for, in [0, 1].
    """
    speed = motion[0] / STEP
    forward = speed + lead * FORWARD_KEEP / (1.0 - FORWARD_KEEP) * (speed - state.forward_speed)
    yaw = (motion[1] - YAW_COAST * state.base_velocity[2]) / YAW_GAIN
    action: Array = np.clip([forward / MAX_FORWARD, yaw / MAX_YAW], -1.0, 1.0)
    return action


def compose_action(posture: Array, base: Array, gripper: float) -> Action:
    """Returns the 13-d action (float32) from posture (8,), base (2,) and gripper actions."""
    action = np.zeros(13, dtype=np.float32)
    action[:7] = posture[1:]
    action[7] = gripper
    action[10] = posture[0]
    action[11:] = base
    return action
