"""Picking from above: hover over the object, come down, close, lift, carry it home."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable

import numpy as np

from vla_bench.policies.expert.actuators import GRIPPER_CLOSED, gripper_action
from vla_bench.policies.expert.base_drive import drive_straight, drive_to_pose
from vla_bench.policies.expert.grasps import Grasp, apple_in_fridge, bowl_in_drawer
from vla_bench.policies.expert.script import Action, Script, View
from vla_bench.policies.expert.target import TcpTarget
from vla_bench.policies.expert.whole_body import PLANNED_BASE, WholeBodyController

TRACKING_RADIUS = 0.15
"""Within this distance (m) of the hover point the tcp is led there in a straight line."""
HOVER_RADIUS = 0.012
"""The gripper comes down once it is within this horizontal distance of its line (m)."""
HOVER_HEIGHT = 0.03
"""... and this much above or below its hover height (m)."""
DEPTH_TOLERANCE = 0.006
"""Distance from the grasp at which the fingers close (m)."""
CLOSING_STEPS = 4
"""Control steps for which the fingers close before the hand rises."""
PATIENCE = 14
"""Control steps after which a close without a grasp counts as a miss."""
DESCENT_STEPS = 30
"""Control steps after which a hand that does not get all the way down closes anyway."""
SLOW_TORSO, SLOW_JOINT = 0.06, 0.25
"""The hand has stopped once the torso (m/s) and every arm joint (rad/s) are slower than this."""
BACK_OFF = 0.35
"""How far the base reverses with the object (m)."""
LOST = 8
"""Control steps without a grasp, on the way home, after which the script starts again."""


class Pick(Script):
    """Grasps an object from above and brings it to the rest pose; starts again after a miss."""

    def __init__(self, *, lift: float) -> None:
        """Prepares a picking script.

        Args:
            lift: how far the object goes straight up before the arm swings back (m).
        """
        self.lift = lift
        self.controller = WholeBodyController()
        self.grasp: Grasp | None = None
        self.phase: Phase = self._approach
        self.steps = 0

    @abstractmethod
    def choose(self, view: View) -> Grasp:
        """Chooses how to grasp the object where it is now."""

    def act(self, view: View) -> Action:
        """The next action, (13,)."""
        if self.grasp is None:
            self.grasp = self.choose(view)
        self.steps += 1
        return self.phase(view, self.grasp)

    def _enter(self, phase: Phase, view: View, grasp: Grasp) -> Action:
        self.phase, self.steps = phase, 0
        return phase(view, grasp)

    def _approach(self, view: View, grasp: Grasp) -> Action:
        robot = view.robot
        base, gripper = drive_to_pose(robot, grasp.stance), gripper_action(grasp.opening)
        error = grasp.hover.position_error(robot.tcp_position)
        if np.hypot(*error[:2]) < HOVER_RADIUS and abs(error[2]) < HOVER_HEIGHT:
            return self._enter(self._descend, view, grasp)
        if np.linalg.norm(error) > TRACKING_RADIUS:
            return self.controller.move_joints(
                robot, grasp.hover_posture, base=base, gripper=gripper
            )
        return self._track(view, grasp, grasp.hover, gripper)

    def _descend(self, view: View, grasp: Grasp) -> Action:
        error = grasp.target.position_error(view.robot.tcp_position)
        there = np.linalg.norm(error) < DEPTH_TOLERANCE
        if (there and _slow(view)) or self.steps > DESCENT_STEPS:
            return self._enter(self._close, view, grasp)
        return self._track(view, grasp, grasp.target, gripper_action(grasp.opening))

    def _close(self, view: View, grasp: Grasp) -> Action:
        if self.steps > CLOSING_STEPS and view.grasped:
            self.top = view.robot.tcp_position + [0.0, 0.0, self.lift]
            return self._enter(self._lift, view, grasp)
        if self.steps > PATIENCE:
            return self._again(view)
        return self._track(view, grasp, grasp.target, GRIPPER_CLOSED)

    def _lift(self, view: View, grasp: Grasp) -> Action:
        if view.robot.tcp_position[2] > self.top[2] - 0.02:
            return self._enter(self._carry_home, view, grasp)
        target = TcpTarget(self.top, grasp.target.rotation, grasp.target.alignments)
        return self._track(view, grasp, target, GRIPPER_CLOSED)

    def _carry_home(self, view: View, grasp: Grasp) -> Action:
        if view.grasped:
            self.steps = 0
        if self.steps > LOST:
            return self._again(view)
        base = drive_straight(view.robot, grasp.retreat(BACK_OFF))
        return self.controller.return_to_rest(view.robot, base=base, gripper=GRIPPER_CLOSED)

    def _again(self, view: View) -> Action:
        self.grasp = self.choose(view)
        return self._enter(self._approach, view, self.grasp)

    def _track(self, view: View, grasp: Grasp, target: TcpTarget, gripper: float) -> Action:
        """Leads the tcp in a straight line while the base finishes its drive."""
        return self.controller.track(
            view.robot,
            target,
            base=drive_to_pose(view.robot, grasp.stance),
            posture=grasp.posture,
            weights=PLANNED_BASE,
            gripper=gripper,
        )


def _slow(view: View) -> bool:
    speeds = np.abs(view.robot.posture_velocity)
    return bool(speeds[0] < SLOW_TORSO and speeds[1:].max() < SLOW_JOINT)


Phase = Callable[[View, Grasp], Action]


class PickApple(Pick):
    """The apple on the fridge's shelf."""

    def __init__(self) -> None:
        super().__init__(lift=0.05)

    def choose(self, view: View) -> Grasp:
        """Stands where the elbow keeps clear of the open door."""
        return apple_in_fridge(view)


class PickBowl(Pick):
    """The bowl in the open drawer."""

    def __init__(self) -> None:
        super().__init__(lift=0.14)

    def choose(self, view: View) -> Grasp:
        """Takes the rim where hand and fingers keep clear of the drawer."""
        return bowl_in_drawer(view)
