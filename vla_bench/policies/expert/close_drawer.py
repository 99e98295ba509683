"""Closes a drawer: lowers the closed fingers in front of its bar while driving up, and drives on.

The stance lies on the way the robot already looks, so that driving up needs one turn at most, and
the same straight drive goes on to push the drawer shut. The arm keeps the fingers on the bar's
middle meanwhile, because the heading may be up to half a radian off the drawer's own direction.
"""

from __future__ import annotations

import numpy as np

from vla_bench.policies.expert.actuators import GRIPPER_CLOSED
from vla_bench.policies.expert.base_drive import DriveLimits, drive_straight
from vla_bench.policies.expert.drawer import BAR_HALF, FINGER_HALF, UP, Drawer, easy_stance
from vla_bench.policies.expert.reach import Reach, ReachSolver
from vla_bench.policies.expert.robot_state import RobotState
from vla_bench.policies.expert.rotations import Array
from vla_bench.policies.expert.script import Action, Script, View
from vla_bench.policies.expert.target import TcpTarget, pointing
from vla_bench.policies.expert.whole_body import PLANNED_BASE, WholeBodyController

HEIGHT = 0.008
"""How far above the bar's middle the tcp pushes (m)."""
CLEARANCE = 0.06
"""Distance from the bar's middle at which the tcp comes down (m)."""
LOW_ENOUGH = 0.03
"""Height above the pushing height (m) at which the base may drive on."""
CENTRED = 0.05
"""Distance from the bar's middle along the bar (m) at which the base may drive on."""
NEAR = 0.15
"""Distance (m) at which the tcp is led straight to its place."""
PRESS = 0.012
"""How far behind the bar's surface the fingers aim, so that they keep touching it (m)."""
RUN_OUT = 0.02
"""How far beyond the closed position the drive aims, so that it does not slow down early (m)."""
CLOSED = 0.002
"""Opening at which the push ends (m); success takes 4 mm."""
PUSH_LIMITS = DriveLimits(speed=0.7)


class CloseDrawer(Script):
    """Approaches, pushes and returns to rest."""

    def __init__(self) -> None:
        self._controller = WholeBodyController()
        self._stance: Reach | None = None
        self.phase = "approach"

    def act(self, view: View) -> Action:
        """The next action, float32 (13,)."""
        drawer = Drawer.from_view(view)
        self._stance = self._stance or _plan(view.robot, drawer)
        self._advance(view.robot, drawer)
        if self.phase == "approach":
            return self._approach(view.robot, drawer, self._stance)
        if self.phase == "push":
            return self._push(view.robot, drawer, self._stance.posture)
        return self._controller.return_to_rest(view.robot, gripper=GRIPPER_CLOSED)

    def _advance(self, robot: RobotState, drawer: Drawer) -> None:
        """Goes to the next phase when the present one is done."""
        if self.phase == "approach" and _in_front(robot, drawer):
            self.phase = "push"
        if self.phase == "push" and drawer.opening < CLOSED:
            self.phase = "return"

    def _approach(self, robot: RobotState, drawer: Drawer, stance: Reach) -> Action:
        """Lowers the arm joint by joint and, once near, leads the tcp to its place."""
        base = drive_straight(robot, stance.base_pose)
        target = pointing(_contact(drawer, CLEARANCE), -UP)
        if np.linalg.norm(target.position_error(robot.tcp_position)) > NEAR:
            return self._controller.move_joints(
                robot, stance.posture, base=base, gripper=GRIPPER_CLOSED
            )
        return self._controller.track(
            robot,
            target,
            base=base,
            posture=stance.posture,
            weights=PLANNED_BASE,
            gripper=GRIPPER_CLOSED,
        )

    def _push(self, robot: RobotState, drawer: Drawer, posture: Array) -> Action:
        target = pointing(_contact(drawer, BAR_HALF + FINGER_HALF - PRESS), -UP)
        heading = robot.base_rotation[:, 0]
        cosine = max(-float(heading @ drawer.outward), 0.5)
        gap = float((robot.tcp_position - target.position) @ drawer.outward)
        way = (gap + drawer.opening + RUN_OUT - PRESS) / cosine
        goal = robot.base_pose + np.array([*(way * heading[:2]), 0.0])
        base = drive_straight(robot, goal, limits=PUSH_LIMITS)
        moving = TcpTarget(
            target.position,
            alignments=target.alignments,
            velocity=-robot.forward_speed * cosine * drawer.outward,
        )
        return self._controller.track(
            robot, moving, base=base, posture=posture, weights=PLANNED_BASE, gripper=GRIPPER_CLOSED
        )


def _contact(drawer: Drawer, distance: float) -> Array:
    """Returns the tcp's place (3,) in front of the bar, `distance` (m) from its middle."""
    return drawer.handle + distance * drawer.outward + HEIGHT * UP


def _in_front(robot: RobotState, drawer: Drawer) -> bool:
    """Says whether the fingers hang low enough in front of the middle of the bar."""
    offset = robot.tcp_position - _contact(drawer, CLEARANCE)
    return offset[2] < LOW_ENOUGH and abs(float(offset @ drawer.along)) < CENTRED


def _plan(robot: RobotState, drawer: Drawer) -> Reach:
    """Returns the stance from which the fingers hang in front of the bar."""
    return ReachSolver().stances(
        pointing(_contact(drawer, CLEARANCE), -UP),
        robot.base_pose,
        start=robot.posture,
        penalty=easy_stance(robot.base_pose, drawer),
        distances=(0.75,),
        bearings=(0.0, 0.3, -0.3),
    )[0]
