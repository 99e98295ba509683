"""A drawer as the scripts see it, and the moves that closing and opening it share."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from vla_bench.policies.expert.actuators import GRIPPER_CLOSED
from vla_bench.policies.expert.base_drive import DriveLimits, drive_straight
from vla_bench.policies.expert.reach import Penalty, Reach, ReachSolver
from vla_bench.policies.expert.robot_state import RobotState
from vla_bench.policies.expert.rotations import Array, cross
from vla_bench.policies.expert.script import Action, View
from vla_bench.policies.expert.seen import UP, world_point
from vla_bench.policies.expert.target import TcpTarget
from vla_bench.policies.expert.whole_body import (
    DEFAULT_TRACK_LIMITS,
    PLANNED_BASE,
    TrackLimits,
    WholeBodyController,
)

LANE_UNIT, ASKEW_UNIT = 0.1, 0.7
"""Sideways distance (m) and angle (rad) that `easy_stance` counts as one unit of trespass."""
BEARINGS = (0.0, 0.3, -0.3)
"""Directions (rad) from which stances are tried, relative to the one in which the target lies."""
LEADING_RADIUS = 0.15
"""Within this distance (m) of its place the tcp is led there in a straight line."""
MIN_COSINE = 0.5
"""Least cosine that the heading is taken to have with the drawer's direction."""
CLEAR = 0.15
"""Height above the bar (m) at which a hand that missed may come again."""


@dataclass(frozen=True)
class Drawer:
    """One drawer at one control step, in the world."""

    handle: Array
    """(3,) middle of the bar (m)."""
    outward: Array
    """(3,) unit vector, level: the way the drawer opens."""
    opening: float
    """How far it is open (m)."""
    travel: float
    """How far it can be opened (m)."""

    @classmethod
    def from_view(cls, view: View) -> Drawer:
        """Reads the joint, its axis and the handle point."""
        value, lower, upper = (float(number) for number in view.privileged["handle_joint"])
        in_base = np.asarray(view.privileged["handle_axis"][3:], dtype=np.float64)
        axis: Array = view.robot.base_rotation @ in_base
        level = axis - (axis @ UP) * UP
        return cls(
            handle=world_point(view, "goal_position"),
            outward=level / np.linalg.norm(level),
            opening=value - lower,
            travel=upper - lower,
        )

    @property
    def along(self) -> Array:
        """(3,) unit vector along the bar, to the left of who faces the drawer."""
        return cross(self.outward, UP)


class DrawerHand:
    """The closed hand at a drawer: comes to a place, is hauled along by the base, goes to rest."""

    def __init__(self) -> None:
        self._controller = WholeBodyController()

    def come(
        self,
        robot: RobotState,
        target: TcpTarget,
        stance: Array,
        posture: Array,
        limits: TrackLimits = DEFAULT_TRACK_LIMITS,
    ) -> Action:
        """Brings base and arm to a place together.

        Args:
            robot: present state.
            target: where the tcp shall be, world.
            stance: (3,) base pose to drive to.
            posture: (8,) posture that meets the target there.
            limits: speeds of the last, straight stretch.

        Returns:
            (13,) action: joint by joint while far, then in a straight line.
        """
        base = drive_straight(robot, stance)
        if miss(target, robot) > LEADING_RADIUS:
            return self._controller.move_joints(robot, posture, base=base, gripper=GRIPPER_CLOSED)
        return self._controller.track(
            robot,
            target,
            base=base,
            posture=posture,
            weights=PLANNED_BASE,
            gripper=GRIPPER_CLOSED,
            limits=limits,
        )

    def haul(
        self,
        robot: RobotState,
        drawer: Drawer,
        target: TcpTarget,
        way: float,
        posture: Array,
        limits: DriveLimits,
    ) -> Action:
        """Drives straight on or back, the arm keeping the tcp at a place that the drawer carries.

        Args:
            robot: present state.
            drawer: the drawer.
            target: tcp relative to the drawer as it is now, world.
            way: how far the drawer shall still move, outward positive (m).
            posture: (8,) preferred posture.
            limits: speed of the base.

        Returns:
            (13,) action.
        """
        heading = robot.base_rotation[:, 0]
        # The tcp does not slide along the bar, so the base has further to go than the drawer.
        cosine = max(-float(heading @ drawer.outward), MIN_COSINE)
        goal = robot.base_pose - way / cosine * np.array([heading[0], heading[1], 0.0])
        moving = TcpTarget(
            target.position,
            target.rotation,
            target.alignments,
            velocity=-robot.forward_speed * cosine * drawer.outward,
        )
        return self._controller.track(
            robot,
            moving,
            base=drive_straight(robot, goal, limits=limits),
            posture=posture,
            weights=PLANNED_BASE,
            gripper=GRIPPER_CLOSED,
        )

    def rest(self, robot: RobotState) -> Action:
        """Returns to the rest posture, the base standing; (13,) action."""
        return self._controller.return_to_rest(robot, gripper=GRIPPER_CLOSED)


def miss(target: TcpTarget, robot: RobotState) -> float:
    """Returns how far the tcp is from its target (m)."""
    return float(np.linalg.norm(target.position_error(robot.tcp_position)))


def out_clear(robot: RobotState, drawer: Drawer) -> bool:
    """Says whether the tcp is high enough above the bar to start again."""
    return bool(robot.tcp_position[2] > drawer.handle[2] + CLEAR)


def find_stance(robot: RobotState, drawer: Drawer, target: TcpTarget, distance: float) -> Reach:
    """Returns a stance and posture for a tcp target that is quickly reached and driven on from.

    Args:
        robot: present state.
        drawer: the drawer.
        target: wanted tcp, world.
        distance: horizontal distance (m) from the target at which the search begins.
    """
    return ReachSolver().stances(
        target,
        robot.base_pose,
        start=robot.posture,
        penalty=easy_stance(robot.base_pose, drawer),
        distances=(distance,),
        bearings=BEARINGS,
    )[0]


def easy_stance(here: Array, drawer: Drawer) -> Penalty:
    """Returns a penalty on stances off the straight way from `here`, and on those that look askew.

    The first saves turning; the second bounds how far the tcp is carried along the bar.

    Args:
        here: (3,) present base pose, world.
        drawer: the drawer that the base shall face.
    """
    into = -drawer.outward

    def penalty(base_pose: Array, skeleton: Array) -> Array:
        away = here[:2] - base_pose[:2]
        c, s = math.cos(base_pose[2]), math.sin(base_pose[2])
        aside = c * away[1] - s * away[0]
        askew = math.atan2(c * into[1] - s * into[0], c * into[0] + s * into[1])
        return np.array([aside / LANE_UNIT, askew / ASKEW_UNIT])

    return penalty
