"""Picking from above: hover over the object, come down, close, lift, carry it home."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from vla_bench.policies.expert.actuators import GRIPPER_CLOSED, gripper_action
from vla_bench.policies.expert.base_drive import BaseMotion, drive_straight
from vla_bench.policies.expert.grasps import REACH, Grasp, apple_in_fridge, bowl_in_drawer
from vla_bench.policies.expert.rotations import Array
from vla_bench.policies.expert.script import Action, Script, View
from vla_bench.policies.expert.seen import UP
from vla_bench.policies.expert.stance import behind, drive_ahead
from vla_bench.policies.expert.target import TcpTarget
from vla_bench.policies.expert.whole_body import PLANNED_BASE, STANDING, WholeBodyController

TRACKING_RADIUS = 0.15
"""Within this distance (m) of the hover point the tcp is led there in a straight line."""
HOVER_RADIUS, HOVER_HEIGHT = 0.012, 0.03
"""The gripper comes down once it is this near to the hover point, level and in height (m)."""
STRAYED = 0.05
"""The gripper goes up again when it is this far beside the grasp on its way down (m)."""
DESCENT_SPEED = 0.08
"""The hand does not come down slower than this (m/s): whoever learns from it must not stop short."""
GRASP_RADIUS, GRASP_HEIGHT = 0.015, 0.02
"""The fingers close once the tcp is this near to the grasp, level and in height (m)."""
DESCENT_STEPS = 30
"""Control steps after which a hand that does not get all the way down closes anyway."""
CLOSING_STEPS = 4
"""Control steps for which the fingers close before the hand rises."""
MISS_STEPS = 14
"""Control steps after which closing without a grasp counts as a miss."""
LOST_STEPS = 8
"""Control steps without a grasp, on the way home, after which the object counts as lost."""
LIFTED = 0.02
"""The lift ends this far below its top (m)."""
BACK_OFF = 0.35
"""How far the base reverses with the object (m)."""


class Pick(Script):
    """Grasps an object from above and brings it to the rest pose; starts again after a miss."""

    def __init__(self, choose: Callable[[View], Grasp], *, lift: float) -> None:
        """Prepares a picking script.

        Args:
            choose: chooses how to grasp the object where it is now.
            lift: how far the object goes straight up before the arm swings back (m).
        """
        self.choose = choose
        self.lift = lift
        self.controller = WholeBodyController()
        self.grasp: Grasp | None = None
        self.phase: Phase = self._approach
        self.steps = 0
        self.top = np.zeros(3)
        self.home = np.zeros(3)

    def act(self, view: View) -> Action:
        """The next action, (13,)."""
        if self.grasp is None:
            self.grasp = self.choose(view)
        if self.phase in (self._approach, self._descend):
            self.grasp = self.grasp.following(view)
        self.steps += 1
        return self.phase(view, self.grasp)

    def _enter(self, phase: Phase, view: View, grasp: Grasp) -> Action:
        self.phase, self.steps = phase, 0
        return phase(view, grasp)

    def _approach(self, view: View, grasp: Grasp) -> Action:
        """Drives up while the arm moves to the hover point."""
        error = grasp.hover.position_error(view.robot.tcp_position)
        if np.hypot(*error[:2]) < HOVER_RADIUS and abs(error[2]) < HOVER_HEIGHT:
            return self._enter(self._descend, view, grasp)
        base = drive_ahead(view.robot, grasp.target.position, REACH)
        gripper = gripper_action(grasp.opening)
        if np.linalg.norm(error) > TRACKING_RADIUS:
            return self.controller.move_joints(
                view.robot, grasp.hover_posture, base=base, gripper=gripper
            )
        return self._track(view, grasp.hover, grasp.posture, gripper, base)

    def _descend(self, view: View, grasp: Grasp) -> Action:
        """Comes straight down; the base may finish its drive."""
        error = grasp.target.position_error(view.robot.tcp_position)
        if np.hypot(*error[:2]) > STRAYED:
            return self._enter(self._approach, view, grasp)
        low_enough = -error[2] < GRASP_HEIGHT
        there = low_enough and np.hypot(*error[:2]) < GRASP_RADIUS
        if there or self.steps > DESCENT_STEPS:
            return self._enter(self._close, view, grasp)
        base = drive_ahead(view.robot, grasp.target.position, REACH)
        sinking = 0.0 if low_enough else DESCENT_SPEED
        target = replace(grasp.target, velocity=-sinking * UP)
        return self._track(view, target, grasp.posture, gripper_action(grasp.opening), base)

    def _close(self, view: View, grasp: Grasp) -> Action:
        if self.steps > CLOSING_STEPS and view.grasped:
            self.top = view.robot.tcp_position + self.lift * UP
            return self._enter(self._lift, view, grasp)
        if self.steps > MISS_STEPS:
            return self._again(view)
        return self._track(view, grasp.target, grasp.posture, GRIPPER_CLOSED)

    def _lift(self, view: View, grasp: Grasp) -> Action:
        if view.robot.tcp_position[2] > self.top[2] - LIFTED:
            self.home = behind(view.robot, BACK_OFF)
            return self._enter(self._carry_home, view, grasp)
        target = TcpTarget(self.top, grasp.target.rotation, grasp.target.alignments)
        return self._track(view, target, grasp.hover_posture, GRIPPER_CLOSED)

    def _carry_home(self, view: View, grasp: Grasp) -> Action:
        """Goes back to rest while the base reverses."""
        if view.grasped:
            self.steps = 0
        if self.steps > LOST_STEPS:
            return self._again(view)
        base = drive_straight(view.robot, self.home)
        return self.controller.return_to_rest(view.robot, base=base, gripper=GRIPPER_CLOSED)

    def _again(self, view: View) -> Action:
        self.grasp = self.choose(view)
        return self._enter(self._approach, view, self.grasp)

    def _track(
        self,
        view: View,
        target: TcpTarget,
        posture: Array,
        gripper: float,
        base: BaseMotion = STANDING,
    ) -> Action:
        """Leads the tcp in a straight line, whatever the base does meanwhile."""
        return self.controller.track(
            view.robot, target, base=base, posture=posture, weights=PLANNED_BASE, gripper=gripper
        )


Phase = Callable[[View, Grasp], Action]


class PickApple(Pick):
    """The apple on the fridge's shelf."""

    def __init__(self) -> None:
        super().__init__(apple_in_fridge, lift=0.05)


class PickBowl(Pick):
    """The bowl in the open drawer, whose front the bowl must clear before it comes nearer."""

    def __init__(self) -> None:
        super().__init__(bowl_in_drawer, lift=0.14)
