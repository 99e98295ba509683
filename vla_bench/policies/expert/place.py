"""Putting a held object on the table: drive up while the arm comes down, let go, back off."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from vla_bench.policies.expert.actuators import GRIPPER_CLOSED, GRIPPER_OPEN
from vla_bench.policies.expert.base_drive import drive_straight
from vla_bench.policies.expert.reach import ReachSolver
from vla_bench.policies.expert.rotations import Array
from vla_bench.policies.expert.script import Action, Script, View
from vla_bench.policies.expert.seen import UP, world_point, world_rotation
from vla_bench.policies.expert.stance import behind, drive_ahead
from vla_bench.policies.expert.target import Alignment, TcpTarget
from vla_bench.policies.expert.whole_body import PLANNED_BASE, WholeBodyController

REACH = 0.70
"""How far ahead of the base the gripper lets go (m): far enough to keep the base off the table."""
RELEASE_RADIUS, RELEASE_HEIGHT = 0.04, 0.015
"""The object is let go this near to its place, level and in height (m)."""
SLOW_BASE, SLOW_JOINT = 0.15, 0.4
"""... and when the base (m/s) and every joint (rad/s, m/s) are slower than this."""
OPENING_STEPS = 3
"""Control steps that the fingers take to come off the object."""
RISEN = 0.02
"""The rise ends this far below its top (m)."""
BACK_OFF = 0.30
"""How far the base reverses after the release (m)."""


@dataclass(frozen=True)
class Delivery:
    """How the object is put down."""

    goal: Array
    """(3,) where the object's origin is at the release, world (m)."""
    posture: Array
    """(8,) posture at the release."""
    object_in_base: Array
    """(3,) where the object's origin is in base_link at that posture (m)."""


class Place(Script):
    """Carries an object to its goal, drops it from a small height and returns to rest."""

    def __init__(self, *, drop: float, rise: float) -> None:
        """Prepares a placing script.

        Args:
            drop: height above its goal from which the object falls (m).
            rise: how far the open fingers go straight up before the arm swings back (m).
        """
        self.drop = drop
        self.rise = rise
        self.controller = WholeBodyController()
        self.delivery: Delivery | None = None
        self.phase: Phase = self._carry
        self.steps = 0
        self.top = TcpTarget(np.zeros(3))
        self.home = np.zeros(3)

    def act(self, view: View) -> Action:
        """The next action, (13,)."""
        if self.delivery is None:
            self.delivery = plan_delivery(view, self.drop)
        self.steps += 1
        return self.phase(view, self.delivery)

    def _enter(self, phase: Phase, view: View, delivery: Delivery) -> Action:
        self.phase, self.steps = phase, 0
        return phase(view, delivery)

    def _carry(self, view: View, delivery: Delivery) -> Action:
        if _arrived(view, delivery):
            return self._enter(self._release, view, delivery)
        return self._settle(view, delivery, GRIPPER_CLOSED)

    def _release(self, view: View, delivery: Delivery) -> Action:
        if self.steps >= OPENING_STEPS:
            robot = view.robot
            self.top = TcpTarget(robot.tcp_position + self.rise * UP, robot.tcp_rotation)
            self.home = behind(robot, BACK_OFF)
            return self._enter(self._rise, view, delivery)
        return self._settle(view, delivery, GRIPPER_OPEN)

    def _settle(self, view: View, delivery: Delivery, gripper: float) -> Action:
        """Brings base and arm to where the object is put down."""
        base = drive_ahead(view.robot, delivery.goal, delivery.object_in_base)
        return self.controller.move_joints(view.robot, delivery.posture, base=base, gripper=gripper)

    def _rise(self, view: View, delivery: Delivery) -> Action:
        if view.robot.tcp_position[2] > self.top.position[2] - RISEN:
            return self._enter(self._go_home, view, delivery)
        return self.controller.track(view.robot, self.top, weights=PLANNED_BASE)

    def _go_home(self, view: View, delivery: Delivery) -> Action:
        base = drive_straight(view.robot, self.home)
        return self.controller.return_to_rest(view.robot, base=base, gripper=GRIPPER_OPEN)


Phase = Callable[[View, Delivery], Action]


class PlaceApple(Place):
    """The apple, held around its middle."""

    def __init__(self) -> None:
        super().__init__(drop=0.015, rise=0.08)


class PlaceBowl(Place):
    """The bowl, held by its rim and therefore hanging beside the gripper."""

    def __init__(self) -> None:
        super().__init__(drop=0.02, rise=0.06)


def plan_delivery(view: View, drop: float) -> Delivery:
    """Chooses a posture in which the object hangs upright, `drop` (m) above its goal."""
    robot = view.robot
    into_hand = robot.tcp_rotation.T
    offset = into_hand @ (world_point(view, "object_pose") - robot.tcp_position)
    upright = into_hand @ world_rotation(view, "object_pose")[:, 2]
    goal = world_point(view, "goal_position") + drop * UP
    # However the hand turns about the vertical, the object hangs this far above the tcp.
    height = float(goal[2] - offset @ upright)
    target = TcpTarget(np.array([REACH, 0.0, height]), alignments=(Alignment(upright, UP),))
    solver = ReachSolver()
    posture = solver.posture(target, start=robot.posture).posture
    chain = solver.kinematics.forward(posture)
    return Delivery(goal, posture, chain.tcp_position + chain.tcp_rotation @ offset)


def _arrived(view: View, delivery: Delivery) -> bool:
    """Says whether the object is over its goal, as low as it goes, and nearly still."""
    robot = view.robot
    miss = world_point(view, "object_pose") - delivery.goal
    slow = (
        abs(robot.forward_speed) < SLOW_BASE and np.abs(robot.posture_velocity).max() < SLOW_JOINT
    )
    return bool(np.hypot(*miss[:2]) < RELEASE_RADIUS and miss[2] < RELEASE_HEIGHT and slow)
