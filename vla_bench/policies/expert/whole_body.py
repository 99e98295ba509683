"""Resolved-rate control of arm, torso and base together.

Every call solves one small bounded least-squares problem for the displacement of ten degrees of
freedom in the next control step (eight posture joints, base forward, base yaw), inside what the
actuators can do from their present velocities, and turns it into the 13-d action.
"""

import math
from dataclasses import dataclass, field

import numpy as np

from vla_bench.policies.expert import actuators
from vla_bench.policies.expert.actuators import GRIPPER_OPEN, STEP, Action
from vla_bench.policies.expert.base_drive import BaseMotion
from vla_bench.policies.expert.bounded_qp import solve_bounded
from vla_bench.policies.expert.kinematics import REST_POSTURE, Kinematics, fetch_kinematics
from vla_bench.policies.expert.robot_state import RobotState
from vla_bench.policies.expert.rotations import Array, cross
from vla_bench.policies.expert.target import TcpTarget

STANDING = BaseMotion()
FROZEN = math.inf

_SCALE: Array = np.array([0.03] + [0.04] * 7 + [0.05, 0.06])
"""Displacement per step (m, rad) that counts as one unit of effort, about what a step can do."""
_PRICE = 0.001
"""Tcp error (m) that the controller accepts to save one unit of effort."""
_POSTURE_PULL = 0.15
"""Share of the distance to the preferred posture that the null space asks for in one step."""
_RUN_ON = 0.015
"""Distance (rad) that an arm joint runs on per rad/s after its command ends."""
JOINT_GAIN = 0.25
"""Share of a small joint error removed per step."""
_LIMIT_MARGIN = 0.03
"""Joints are kept this far (rad) from their stops."""


@dataclass(frozen=True)
class Weights:
    """What departing from the preferred motion costs; `FROZEN` forbids it.

    The preferred motion is: torso and arm drift to the preferred posture, the base does its
    `BaseMotion`.
    """

    torso: float = 1.0
    arm: float = 1.0
    forward: float = 1.0
    yaw: float = 1.0

    @property
    def vector(self) -> Array:
        """(10,) one weight per degree of freedom."""
        return np.array([self.torso] + [self.arm] * 7 + [self.forward, self.yaw])


WHOLE_BODY = Weights()
"""All ten degrees of freedom chase the tcp target."""
PLANNED_BASE = Weights(forward=FROZEN, yaw=FROZEN)
"""The base does exactly its planned motion (standing, if none); torso and arm make up for it."""


@dataclass(frozen=True)
class TrackLimits:
    """How briskly the tcp approaches its target."""

    speed: float = 0.8
    """m/s."""
    braking: float = 1.5
    """m/s^2."""
    gain: float = 0.25
    """Share of a small error removed per step."""
    angular_speed: float = 1.3
    """rad/s."""
    base_yaw_rate: float = 0.5
    """rad/s: bound on the base's turning while it helps the arm."""
    base_speed: float = 0.5
    """m/s: bound on the base's driving while it helps the arm."""
    arm_rate: float = actuators.ARM_PACE
    """rad per step of each arm joint."""
    lead: float = 0.0
    """Share of the base's lag that its command makes up for."""
    orientation_arm: float = 0.2
    """m per rad: how an angle counts against a distance."""


DEFAULT_TRACK_LIMITS = TrackLimits()


@dataclass
class WholeBodyController:
    """Turns wishes for the tcp, the posture and the base into actions. Holds no state between
    calls.
    """

    kinematics: Kinematics = field(default_factory=fetch_kinematics)

    def track(
        self,
        state: RobotState,
        target: TcpTarget,
        *,
        base: BaseMotion = STANDING,
        posture: Array = REST_POSTURE,
        weights: Weights = WHOLE_BODY,
        gripper: float = GRIPPER_OPEN,
        limits: TrackLimits = DEFAULT_TRACK_LIMITS,
    ) -> Action:
        """Moves the tcp towards a world target.

        Args:
            state: present state.
            target: wanted tcp in the world.
            base: preferred base motion (from `base_drive`).
            posture: (8,) preferred posture; the torso goes there, the arm where the task leaves
                room.
            weights: cost of departing from the preferred motion, per group of joints.
            gripper: absolute gripper action in [-1, 1].
            limits: speeds and gains.

        Returns:
            (13,) action in [-1, 1].
        """
        lower, upper = self._bounds(state, limits)
        preferred = np.clip(self._preferred(state, posture, base, limits), lower, upper)
        vector = weights.vector
        frozen = np.isinf(vector)
        lower, upper = np.where(frozen, preferred, lower), np.where(frozen, preferred, upper)
        effort = (_PRICE / _SCALE) ** 2 * np.where(frozen, 1.0, vector)
        rows, wanted = self._tasks(state, target, limits)
        hessian = rows.T @ rows + np.diag(effort)
        displacement = solve_bounded(hessian, rows.T @ wanted + effort * preferred, lower, upper)
        return _action(state, displacement, gripper, limits.lead)

    def move_joints(
        self,
        state: RobotState,
        posture: Array,
        *,
        base: BaseMotion = STANDING,
        gripper: float = GRIPPER_OPEN,
        synchronise: bool = False,
        rate: float = actuators.ARM_PACE,
        gain: float = JOINT_GAIN,
    ) -> Action:
        """Servoes the posture joint by joint while the base does its own motion.

        Args:
            state: present state.
            posture: (8,) goal.
            base: base motion in the world of `base_drive`.
            gripper: absolute gripper action.
            synchronise: True makes all arm joints arrive together (a straight line in joint space).
            rate: most that an arm joint moves (rad per step), up to `ARM_RATE`.
            gain: share of a small error removed per step.
        """
        error = np.asarray(posture, dtype=np.float64) - state.posture
        # What the arm's momentum will still cover is left out, or it would overshoot.
        left = gain * (error - _RUN_ON * state.posture_velocity)
        step = np.clip(left, -rate, rate)
        slowest = float(np.max(np.abs(error[1:])))
        if synchronise and slowest > rate:
            step = error * (rate / slowest)
        step[0] = _torso_step(state, float(error[0]))
        return _action(state, np.concatenate([step, base.displacement]), gripper)

    def return_to_rest(
        self,
        state: RobotState,
        *,
        base: BaseMotion = STANDING,
        gripper: float = GRIPPER_OPEN,
        synchronise: bool = False,
        rate: float = actuators.ARM_PACE,
        gain: float = JOINT_GAIN,
    ) -> Action:
        """Goes back to the rest posture; may run while the base drives."""
        return self.move_joints(
            state,
            REST_POSTURE,
            base=base,
            gripper=gripper,
            synchronise=synchronise,
            rate=rate,
            gain=gain,
        )

    def _bounds(self, state: RobotState, limits: TrackLimits) -> tuple[Array, Array]:
        """Returns what the next step can do (10,), keeping joints off their stops and bounding
        the base.
        """
        low, high = actuators.posture_limits(state, limits.arm_rate)
        margin = np.array([0.0] + [_LIMIT_MARGIN] * 7)
        # Only half the room to a stop may be used per step; a joint beyond its margin is led back.
        inner_low = 0.5 * (self.kinematics.lower + margin - state.posture)
        inner_high = 0.5 * (self.kinematics.upper - margin - state.posture)
        base_low, base_high = actuators.base_limits(state)
        cap = np.array([limits.base_speed, limits.base_yaw_rate]) * STEP
        return (
            np.concatenate(
                [np.clip(inner_low, low, high), np.minimum(np.maximum(base_low, -cap), base_high)]
            ),
            np.concatenate(
                [np.clip(inner_high, low, high), np.maximum(np.minimum(base_high, cap), base_low)]
            ),
        )

    def _preferred(
        self, state: RobotState, posture: Array, base: BaseMotion, limits: TrackLimits
    ) -> Array:
        """Returns the motion (10,) that the robot makes where the tcp task does not care."""
        error = np.asarray(posture, dtype=np.float64) - state.posture
        step = np.clip(_POSTURE_PULL * error, -limits.arm_rate, limits.arm_rate)
        step[0] = _torso_step(state, float(error[0]))
        return np.concatenate([step, base.displacement])

    def _tasks(
        self, state: RobotState, target: TcpTarget, limits: TrackLimits
    ) -> tuple[Array, Array]:
        """Returns the task rows (m, 10) and the wanted displacements (m,), both in metres."""
        jacobian = self.world_jacobian(state)
        error = target.position_error(state.tcp_position)
        rows = [jacobian[:3]]
        wanted = [_approach(error, limits) + target.velocity * STEP]
        for selection, turn in target.rotation_tasks(state.tcp_rotation):
            angle = float(np.linalg.norm(turn))
            share = min(limits.gain, limits.angular_speed * STEP / max(angle, 1e-9))
            rows.append(limits.orientation_arm * selection @ jacobian[3:])
            wanted.append(limits.orientation_arm * share * turn)
        return np.concatenate(rows), np.concatenate(wanted)

    def world_jacobian(self, state: RobotState) -> Array:
        """Returns the (6, 10) Jacobian of the tcp in the world over (posture, base forward, base
        yaw).
        """
        rotation = state.base_rotation
        arm = self.kinematics.jacobian(state.chain)
        jacobian = np.zeros((6, 10))
        jacobian[:3, :8] = rotation @ arm[:3]
        jacobian[3:, :8] = rotation @ arm[3:]
        jacobian[:3, 8] = rotation[:, 0]
        up = np.array([0.0, 0.0, 1.0])
        jacobian[:3, 9] = rotation @ cross(up, state.chain.tcp_position)
        jacobian[3:, 9] = up
        return jacobian


def _approach(error: Array, limits: TrackLimits) -> Array:
    """Returns the tcp's displacement (3,) for the next step: fast when far, stopping smoothly."""
    distance = float(np.linalg.norm(error))
    braking = math.sqrt(2.0 * limits.braking * distance) * STEP
    reach = min(limits.speed * STEP, braking, limits.gain * distance)
    return error * (reach / max(distance, 1e-9))


def _torso_step(state: RobotState, error: float) -> float:
    """Returns the torso's speed (m per step) from which it can still stop at the goal."""
    left = error - state.posture_velocity[0] * STEP
    braking = 1.6
    speed = min(math.sqrt(2.0 * braking * abs(left)), abs(left) / (3.0 * STEP))
    return math.copysign(speed, left) * STEP


def _action(state: RobotState, displacement: Array, gripper: float, lead: float = 0.0) -> Action:
    return actuators.compose_action(
        actuators.posture_action(state, displacement[:8]),
        actuators.base_action(state, displacement[8:], lead),
        gripper,
    )
