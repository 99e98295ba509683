"""Opens a drawer: hooks the closed fingers behind its bar from above and backs up.

The gripper leans back towards the robot, so that the palm stays clear of the worktop while the
fingers reach into the gap behind the bar; their friction holds the bar in spite of the slant. The
stance lies on the way the robot already looks; see `close_drawer`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vla_bench.policies.expert.actuators import GRIPPER_CLOSED
from vla_bench.policies.expert.base_drive import DriveLimits, drive_straight
from vla_bench.policies.expert.drawer import UP, Drawer, easy_stance
from vla_bench.policies.expert.reach import ReachSolver
from vla_bench.policies.expert.robot_state import RobotState
from vla_bench.policies.expert.rotations import Array, matrix_from_axes
from vla_bench.policies.expert.script import Action, Script, View
from vla_bench.policies.expert.target import TcpTarget
from vla_bench.policies.expert.whole_body import PLANNED_BASE, WholeBodyController

TILT = 0.52
"""Angle between the fingers and the vertical (rad)."""
BEHIND = 0.028
"""How far behind the bar's middle the hooked tcp is (m)."""
ABOVE = 0.018
"""How far above the bar's middle the hooked tcp is (m)."""
RAISED = 0.09
"""How far the tcp is drawn back along the fingers before it goes in (m)."""
NEAR = 0.15
"""Distance (m) at which the tcp is led straight to its place."""
READY = 0.015
"""Distance from the place above the gap (m) at which the fingers go in."""
HOOKED = 0.012
"""Distance from the place behind the bar (m) at which the pull begins."""
PULL = 0.03
"""How far in front of its place behind the bar the tcp aims while it pulls (m)."""
OPEN = 0.95
"""Share of the drawer's travel at which the fingers let go; success takes 0.9."""
PULL_LIMITS = DriveLimits(speed=0.6)


@dataclass(frozen=True)
class _Plan:
    """Where to stand, and the posture with the fingers above the gap and in it."""

    base_pose: Array
    raised: Array
    hooked: Array


class OpenDrawer(Script):
    """Approaches, goes in behind the bar, pulls and returns to rest."""

    def __init__(self) -> None:
        self._controller = WholeBodyController()
        self._plan: _Plan | None = None
        self.phase = "approach"
        self._steps_in = 0

    def act(self, view: View) -> Action:
        """The next action, float32 (13,)."""
        drawer, robot = Drawer.from_view(view), view.robot
        self._plan = self._plan or _make_plan(robot, drawer)
        self._advance(robot, drawer)
        if self.phase == "approach":
            return self._approach(robot, drawer, self._plan)
        if self.phase == "insert":
            target, base = _hook(drawer), drive_straight(robot, self._plan.base_pose)
            return self._controller.track(
                robot, target, base=base, posture=self._plan.hooked, weights=PLANNED_BASE, gripper=GRIPPER_CLOSED
            )
        if self.phase == "pull":
            return self._pull(robot, drawer, self._plan)
        return self._controller.return_to_rest(robot, gripper=GRIPPER_CLOSED)

    def _advance(self, robot: RobotState, drawer: Drawer) -> None:
        """Goes to the next phase when the present one is done."""
        tcp = robot.tcp_position
        if self.phase == "approach" and _distance(_hook(drawer, RAISED), tcp) < READY:
            self.phase = "insert"
        self._steps_in = self._steps_in + 1 if self.phase == "insert" else 0
        if self.phase == "insert" and (_distance(_hook(drawer), tcp) < HOOKED or self._steps_in > 14):
            self.phase = "pull"
        if self.phase == "pull" and drawer.opening > OPEN * drawer.travel:
            self.phase = "return"

    def _approach(self, robot: RobotState, drawer: Drawer, plan: _Plan) -> Action:
        """Moves the arm joint by joint and, once near, leads the tcp to its place above the gap."""
        base = drive_straight(robot, plan.base_pose)
        target = _hook(drawer, RAISED)
        if _distance(target, robot.tcp_position) > NEAR:
            return self._controller.move_joints(robot, plan.raised, base=base, gripper=GRIPPER_CLOSED)
        return self._controller.track(
            robot, target, base=base, posture=plan.raised, weights=PLANNED_BASE, gripper=GRIPPER_CLOSED
        )

    def _pull(self, robot: RobotState, drawer: Drawer, plan: _Plan) -> Action:
        heading = robot.base_rotation[:, 0]
        cosine = max(-float(heading @ drawer.outward), 0.5)
        way = (drawer.travel - drawer.opening) / cosine
        goal = robot.base_pose - np.array([*(way * heading[:2]), 0.0])
        hook = _hook(drawer)
        target = TcpTarget(
            hook.position + PULL * drawer.outward,
            hook.rotation,
            velocity=-robot.forward_speed * cosine * drawer.outward,
        )
        base = drive_straight(robot, goal, limits=PULL_LIMITS)
        return self._controller.track(
            robot, target, base=base, posture=plan.hooked, weights=PLANNED_BASE, gripper=GRIPPER_CLOSED
        )


def _hook(drawer: Drawer, raised: float = 0.0) -> TcpTarget:
    """Returns the tcp behind the bar, drawn back along the fingers by `raised` (m)."""
    fingers = -np.sin(TILT) * drawer.outward - np.cos(TILT) * UP
    place = drawer.handle - BEHIND * drawer.outward + ABOVE * UP
    return TcpTarget(place - raised * fingers, matrix_from_axes(fingers, drawer.along))


def _distance(target: TcpTarget, position: Array) -> float:
    return float(np.linalg.norm(target.position_error(position)))


def _make_plan(robot: RobotState, drawer: Drawer) -> _Plan:
    solver = ReachSolver()
    hooked = solver.stances(
        _hook(drawer),
        robot.base_pose,
        start=robot.posture,
        penalty=easy_stance(robot.base_pose, drawer),
        distances=(0.85,),
        bearings=(0.0, 0.3, -0.3),
    )[0]
    raised = solver.stances(
        _hook(drawer, RAISED),
        hooked.base_pose, start=robot.posture, preferred=hooked.posture, distances=(0.85,), bearings=(0.0,)
    )[0]
    return _Plan(hooked.base_pose, raised.posture, hooked.posture)
