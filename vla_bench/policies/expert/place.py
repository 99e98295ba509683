"""Putting a held object on the table: drive up while the arm comes down, let go, back off."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from vla_bench.policies.expert.actuators import GRIPPER_CLOSED, GRIPPER_OPEN
from vla_bench.policies.expert.base_drive import drive_straight, drive_to_pose
from vla_bench.policies.expert.reach import ReachSolver
from vla_bench.policies.expert.rotations import Array, matrix_from_quaternion
from vla_bench.policies.expert.script import Action, Script, View
from vla_bench.policies.expert.stance import stance_straight_ahead
from vla_bench.policies.expert.target import Alignment, TcpTarget
from vla_bench.policies.expert.whole_body import PLANNED_BASE, WholeBodyController

REACH = 0.70
"""How far ahead of the base the gripper lets go (m): far enough to keep the base off the table."""
RELEASE_RADIUS = 0.04
"""The object is let go within this horizontal distance of its goal (m)."""
RELEASE_SPEED = 0.15
"""The base is slower than this when the object is let go (m/s)."""
OPENING_STEPS = 3
"""Control steps that the fingers take to come off the object."""
BACK_OFF = 0.30
"""How far the base reverses after the release (m)."""


@dataclass(frozen=True)
class Delivery:
    """Where to be when the object is let go."""

    goal: Array
    """(3,) where the object's origin shall be at the release, world (m)."""
    posture: Array
    """(8,) posture at the release."""
    stance: Array
    """(3,) base pose at the release, world."""
    retreat: Array
    """(3,) base pose to reverse to afterwards, world."""


class Place(Script):
    """Carries an object to its goal, drops it from a small height and returns to rest."""

    def __init__(self, drop: float, rise: float) -> None:
        """Prepares a placing script.

        Args:
            drop: height above its goal from which the object falls (m).
            rise: how far the open fingers go straight up before the arm swings back (m).
        """
        self.drop = drop
        self.rise = rise
        self.controller = WholeBodyController()
        self.delivery: Delivery | None = None
        self.opened = 0
        self.phase: Callable[[View, Delivery], Action] = self._carry

    def act(self, view: View) -> Action:
        """The next action, (13,)."""
        if self.delivery is None:
            self.delivery = plan_delivery(view, self.drop)
        return self.phase(view, self.delivery)

    def _carry(self, view: View, delivery: Delivery) -> Action:
        if _arrived(view, delivery):
            self.phase = self._release
            return self._release(view, delivery)
        return self.controller.move_joints(
            view.robot,
            delivery.posture,
            base=drive_to_pose(view.robot, delivery.stance),
            gripper=GRIPPER_CLOSED,
        )

    def _release(self, view: View, delivery: Delivery) -> Action:
        self.opened += 1
        if self.opened > OPENING_STEPS:
            self.top = view.robot.tcp_position + [0.0, 0.0, self.rise]
            self.phase = self._rise
            return self._rise(view, delivery)
        return self.controller.move_joints(
            view.robot,
            delivery.posture,
            base=drive_to_pose(view.robot, delivery.stance),
            gripper=GRIPPER_OPEN,
        )

    def _rise(self, view: View, delivery: Delivery) -> Action:
        if view.robot.tcp_position[2] > self.top[2] - 0.02:
            self.phase = self._retreat
            return self._retreat(view, delivery)
        target = TcpTarget(self.top, rotation=view.robot.tcp_rotation)
        return self.controller.track(view.robot, target, weights=PLANNED_BASE)

    def _retreat(self, view: View, delivery: Delivery) -> Action:
        return self.controller.return_to_rest(
            view.robot, base=drive_straight(view.robot, delivery.retreat), gripper=GRIPPER_OPEN
        )


class PlaceApple(Place):
    """The apple, held around its middle."""

    def __init__(self) -> None:
        super().__init__(drop=0.015, rise=0.08)


class PlaceBowl(Place):
    """The bowl, held by its rim and therefore hanging beside the gripper."""

    def __init__(self) -> None:
        super().__init__(drop=0.02, rise=0.06)


def plan_delivery(view: View, drop: float) -> Delivery:
    """Chooses posture and stance so that the object hangs upright, `drop` (m) above its goal."""
    robot = view.robot
    pose = np.asarray(view.privileged["object_pose"], dtype=np.float64)
    to_tcp = robot.chain.tcp_rotation.T
    offset = to_tcp @ (pose[:3] - robot.chain.tcp_position)
    upright = to_tcp @ matrix_from_quaternion(pose[3:])[:, 2]
    goal = robot.to_world(view.privileged["goal_position"]) + [0.0, 0.0, drop]
    # However the hand turns about the vertical, the object hangs this far above the tcp.
    height = float(goal[2] - offset @ upright)
    target = TcpTarget(
        np.array([REACH, 0.0, height]),
        alignments=(Alignment(upright, np.array([0.0, 0.0, 1.0])),),
    )
    solver = ReachSolver()
    posture = solver.posture(target, start=robot.posture).posture
    chain = solver.kinematics.forward(posture)
    in_base = chain.tcp_position + chain.tcp_rotation @ offset
    stance = stance_straight_ahead(robot.base_pose, goal, in_base)
    heading = np.array([np.cos(stance[2]), np.sin(stance[2]), 0.0])
    return Delivery(goal, posture, stance, stance - BACK_OFF * heading)


def _arrived(view: View, delivery: Delivery) -> bool:
    """Says whether the object is over its goal, as low as it goes, and nearly still."""
    robot = view.robot
    miss = robot.to_world(view.privileged["object_pose"][:3]) - delivery.goal
    still = abs(robot.forward_speed) < RELEASE_SPEED and np.abs(robot.posture_velocity).max() < 0.4
    return bool(np.hypot(*miss[:2]) < RELEASE_RADIUS and miss[2] < 0.015 and still)
