"""Opens a drawer: hooks the closed fingers behind its bar from above and backs up.

The hand leans back towards the robot, so that the palm stays clear of the worktop while the
fingers reach into the gap behind the bar; their friction holds the bar in spite of the slant. A
hook needs neither a turn of the wrist, as jaws above and below the bar would, nor a firm grasp.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from vla_bench.policies.expert.base_drive import DriveLimits
from vla_bench.policies.expert.drawer import Drawer, DrawerHand, find_stance, miss, out_clear
from vla_bench.policies.expert.reach import ReachSolver
from vla_bench.policies.expert.robot_state import RobotState
from vla_bench.policies.expert.rotations import Array, matrix_about_z, matrix_from_axes
from vla_bench.policies.expert.script import Action, Script, View
from vla_bench.policies.expert.seen import UP
from vla_bench.policies.expert.target import TcpTarget
from vla_bench.policies.expert.whole_body import TrackLimits

TILT = 0.54
"""Angle between the fingers and the vertical (rad)."""
BEHIND, ABOVE = 0.031, 0.005
"""How far behind and above the bar's middle the hooked tcp is (m). It is aimed low and back, half
against the panel: aimed at the middle of the gap, a centimetre of error would lose the bar."""
RAISED = 0.09
"""How far the tcp is drawn back along the fingers before it goes in (m)."""
STANCE_DISTANCE = 0.85
"""Distance from the bar (m) at which the search for a stance begins."""
READY = 0.025
"""Distance from the place above the gap (m) at which the fingers go in."""
HOOKED = 0.018
"""Distance from the place behind the bar (m) at which the pull begins."""
INSERTION_STEPS = 15
"""Control steps after which fingers that do not get all the way in pull anyway."""
PULL = 0.03
"""How far in front of its place behind the bar the tcp aims while it pulls (m)."""
RUN_OUT = 0.1
"""How far beyond the open position the pull aims (m), so that it does not slow down early."""
OPEN, ENOUGH = 0.95, 0.9
"""Shares of the travel at which the fingers let go, and above which the drawer counts as open."""
OUT = 0.05
"""Height of the tcp above the bar's middle (m) at which the fingertips are out of the gap."""
SLIPPED = 0.03
"""The fingers have lost the bar when they are this far in front of its middle (m)."""
PULLING = DriveLimits(speed=0.6)
INSERTING = TrackLimits(speed=0.6)


@dataclass(frozen=True)
class _Plan:
    """Where to stand, and the postures with the fingers above the gap and in it."""

    base_pose: Array
    raised: Array
    hooked: Array


class OpenDrawer(Script):
    """Approaches, goes in behind the bar, pulls, lets go, returns to rest; starts again after a miss."""

    def __init__(self) -> None:
        self._hand = DrawerHand()
        self._plan: _Plan | None = None
        self._inserting = 0
        self.phase = "approach"

    def act(self, view: View) -> Action:
        """The next action, float32 (13,)."""
        robot, drawer = view.robot, Drawer.from_view(view)
        self._advance(robot, drawer)
        plan = self._plan = self._plan or _make_plan(robot, drawer)
        if self.phase == "approach":
            return self._hand.come(robot, _hook(drawer, raised=RAISED), plan.base_pose, plan.raised)
        if self.phase == "insert":
            self._inserting += 1
            return self._hand.come(robot, _hook(drawer), plan.base_pose, plan.hooked, INSERTING)
        if self.phase == "pull":
            way = drawer.travel - drawer.opening + RUN_OUT
            target = _hook(drawer, ahead=PULL)
            return self._hand.haul(robot, drawer, target, way, plan.hooked, PULLING)
        if self.phase == "release":
            target = _hook(drawer, raised=RAISED)
            return self._hand.come(robot, target, robot.base_pose, plan.raised)
        return self._hand.rest(robot)

    def _advance(self, robot: RobotState, drawer: Drawer) -> None:
        """Goes to the next phase when the present one is done."""
        if self.phase == "approach" and miss(_hook(drawer, raised=RAISED), robot) < READY:
            self.phase, self._inserting = "insert", 0
        hooked = miss(_hook(drawer), robot) < HOOKED or self._inserting >= INSERTION_STEPS
        if self.phase == "insert" and hooked:
            self.phase = "pull"
        if self.phase == "pull" and (
            drawer.opening > OPEN * drawer.travel or _slipped(robot, drawer)
        ):
            self.phase = "release"
        if self.phase == "release" and robot.tcp_position[2] > drawer.handle[2] + OUT:
            self.phase = "return"
        missed = drawer.opening < ENOUGH * drawer.travel and out_clear(robot, drawer)
        if self.phase == "return" and missed:
            self.phase, self._plan = "approach", None


def _hook(drawer: Drawer, *, raised: float = 0.0, ahead: float = 0.0) -> TcpTarget:
    """Returns the tcp behind the bar, drawn back along the fingers and moved outward (m)."""
    fingers = -math.sin(TILT) * drawer.outward - math.cos(TILT) * UP
    place = drawer.handle + (ahead - BEHIND) * drawer.outward + ABOVE * UP
    return TcpTarget(place - raised * fingers, matrix_from_axes(fingers, drawer.along))


def _slipped(robot: RobotState, drawer: Drawer) -> bool:
    return bool((robot.tcp_position - drawer.handle) @ drawer.outward > SLIPPED)


def _make_plan(robot: RobotState, drawer: Drawer) -> _Plan:
    hooked = find_stance(robot, drawer, _hook(drawer), STANCE_DISTANCE)
    raised = _seen_from(hooked.base_pose, _hook(drawer, raised=RAISED))
    posture = ReachSolver().posture(raised, seeds=[hooked.posture], preferred=hooked.posture)
    return _Plan(hooked.base_pose, posture.posture, hooked.posture)


def _seen_from(base_pose: Array, target: TcpTarget) -> TcpTarget:
    """Returns a world target with a rotation in the frame of a base pose (3,)."""
    assert target.rotation is not None
    into_base = matrix_about_z(-float(base_pose[2]))
    offset = target.position.copy()
    offset[:2] -= base_pose[:2]
    return TcpTarget(into_base @ offset, into_base @ target.rotation)
