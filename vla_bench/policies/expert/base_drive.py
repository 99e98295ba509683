"""Driving the non-holonomic base: speeds that stop where they should."""

import math
from dataclasses import dataclass

import numpy as np

from vla_bench.policies.expert.actuators import STEP
from vla_bench.policies.expert.robot_state import RobotState
from vla_bench.policies.expert.rotations import Array, wrap_angle


@dataclass(frozen=True)
class BaseMotion:
    """Wanted base speeds at the end of the next step."""

    forward: float = 0.0
    """m/s along the heading."""
    yaw: float = 0.0
    """rad/s, counter-clockwise."""

    @property
    def displacement(self) -> Array:
        """(2,) forward (m) and yaw (rad) per step."""
        return np.array([self.forward, self.yaw]) * STEP


@dataclass(frozen=True)
class DriveLimits:
    """How briskly the base may move: well below what it can, for the sake of who learns from it."""

    speed: float = 0.5
    """m/s."""
    braking: float = 1.5
    """m/s^2; the drive can do 4."""
    yaw_rate: float = 0.4
    """rad/s."""
    turn_gain: float = 3.0
    """rad/s of turning per rad of error."""
    approach_gain: float = 3.0
    """m/s of speed per metre left."""
    turn_in_place: float = 0.5
    """Bearing error (rad) beyond which the base turns before it drives."""
    settle_distance: float = 0.03
    """Below this distance (m) the base only turns to the goal's yaw: a bearing means nothing
    there."""
    lane: float = 0.01
    """Within this sideways distance (m) of the goal's own line, the base drives along that line."""


DEFAULT_LIMITS = DriveLimits()

_NEAR = 0.12
"""Below this distance (m) a wish to go forward or backward is dropped: an overshoot is not worth
a U-turn."""


def drive_to_pose(
    state: RobotState,
    goal: Array,
    *,
    reverse: bool | None = None,
    limits: DriveLimits = DEFAULT_LIMITS,
) -> BaseMotion:
    """Turns towards the goal, drives there, ends with the goal's yaw; call it every step.

    Args:
        state: present state.
        goal: (3,) x, y (m), yaw (rad) of base_link in the world.
        reverse: True to back up, False to drive forward, None for whichever turns less in all.
        limits: speeds.
    """
    offset = np.asarray(goal[:2], dtype=np.float64) - state.base_pose[:2]
    distance = float(np.hypot(*offset))
    aside = abs(math.cos(goal[2]) * offset[1] - math.sin(goal[2]) * offset[0])
    aligned = abs(wrap_angle(goal[2] - state.yaw)) < limits.turn_in_place
    if distance < limits.settle_distance or (
        aside < limits.lane and aligned and distance < 10.0 * limits.lane
    ):
        return drive_straight(state, goal, limits=limits)
    bearing = math.atan2(offset[1], offset[0])
    if reverse is None or distance < _NEAR:
        reverse = _turning(state.yaw, bearing + math.pi, goal[2]) < _turning(
            state.yaw, bearing, goal[2]
        )
    error = wrap_angle(bearing + (math.pi if reverse else 0.0) - state.yaw)
    # cos^4 keeps some way on while the last of the turn is made.
    ease = max(math.cos(error), 0.0) ** 4 if abs(error) < limits.turn_in_place else 0.0
    speed = ease * _stopping_speed(state, -distance if reverse else distance, limits)
    return BaseMotion(speed, _turning_rate(error, limits))


def drive_straight(
    state: RobotState, goal: Array, *, limits: DriveLimits = DEFAULT_LIMITS
) -> BaseMotion:
    """Holds the goal's heading and drives along it, forward or backward, until level with the goal.

    A sideways error cannot be removed on the spot; it is steered out while there is way to go.
    """
    offset = np.asarray(goal[:2], dtype=np.float64) - state.base_pose[:2]
    c, s = math.cos(goal[2]), math.sin(goal[2])
    along, aside = c * offset[0] + s * offset[1], c * offset[1] - s * offset[0]
    speed = _stopping_speed(state, along, limits)
    steer = math.atan2(aside, 0.3) * float(np.clip(4.0 * along, -1.0, 1.0))
    return BaseMotion(speed, _turning_rate(wrap_angle(goal[2] + steer - state.yaw), limits))


def at_pose(state: RobotState, goal: Array, *, distance: float = 0.04, angle: float = 0.04) -> bool:
    """Says whether the base stands (m, rad) at the goal."""
    offset = np.asarray(goal[:2], dtype=np.float64) - state.base_pose[:2]
    return float(np.hypot(*offset)) <= distance and abs(wrap_angle(goal[2] - state.yaw)) <= angle


def drive_steps(start: Array, goal: Array) -> float:
    """Estimates the control steps that `drive_to_pose` takes from standstill to standstill."""
    offset = np.asarray(goal[:2], dtype=np.float64) - np.asarray(start[:2], dtype=np.float64)
    distance = float(np.hypot(*offset))
    travel, turn = DEFAULT_LIMITS.speed * STEP, DEFAULT_LIMITS.yaw_rate * STEP
    if distance < 0.05:
        return distance / travel + abs(wrap_angle(goal[2] - start[2])) / turn + 2.0
    bearing = math.atan2(offset[1], offset[0])
    turning = min(
        _turning(start[2], bearing, goal[2]), _turning(start[2], bearing + math.pi, goal[2])
    )
    return turning / turn + distance / travel + 10.0


def _turning(yaw: float, bearing: float, final: float) -> float:
    """Returns the angle turned in all (rad) when driving along `bearing` from `yaw` to `final`."""
    return abs(wrap_angle(bearing - yaw)) + abs(wrap_angle(final - bearing))


def _turning_rate(error: float, limits: DriveLimits) -> float:
    return float(np.clip(limits.turn_gain * error, -limits.yaw_rate, limits.yaw_rate))


def _stopping_speed(state: RobotState, remaining: float, limits: DriveLimits) -> float:
    """Returns the signed speed for the end of the step from which the base can still stop in
    time.
    """
    left = remaining - state.forward_speed * STEP
    ramp = limits.braking * STEP
    speed = math.sqrt(2.0 * limits.braking * abs(left) + ramp * ramp / 4.0) - ramp / 2.0
    return math.copysign(min(speed, limits.approach_gain * abs(left), limits.speed), left)
