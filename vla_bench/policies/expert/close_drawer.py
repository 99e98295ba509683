"""Closes a drawer: lowers the closed fingers in front of its bar while driving up, and drives on.

The stance lies on the straight way ahead, so that driving up needs one turn at most, and the same
drive goes on to push the drawer shut. The arm keeps the fingers on the bar meanwhile, because the
heading may be some tenths of a radian off the drawer's own direction.
"""

from __future__ import annotations

from vla_bench.policies.expert.base_drive import DriveLimits
from vla_bench.policies.expert.drawer import Drawer, DrawerHand, find_stance, out_clear
from vla_bench.policies.expert.reach import Reach
from vla_bench.policies.expert.robot_state import RobotState
from vla_bench.policies.expert.script import Action, Script, View
from vla_bench.policies.expert.seen import UP
from vla_bench.policies.expert.target import TcpTarget, pointing

HEIGHT = 0.008
"""How far above the bar's middle the tcp pushes (m)."""
CLEARANCE = 0.06
"""Distance from the bar's middle at which the fingers come down (m)."""
CONTACT = 0.024
"""Distance from the bar's middle at which the fingers touch it (m)."""
PRESS = 0.012
"""How far beyond the contact the tcp aims, so that it keeps touching (m)."""
STANCE_DISTANCE = 0.75
"""Distance from the bar (m) at which the search for a stance begins."""
LOW, CENTRED = 0.03, 0.05
"""The base drives on once the tcp is this near to its place in height and along the bar (m)."""
RUN_OUT = 0.3
"""How far beyond the closed position the drive aims (m): it goes on until the stop halts it, which a
policy that cannot see the opening feels too."""
CLOSED = 0.002
"""Opening at which the push ends (m)."""
ENOUGH = 0.01
"""Share of the travel below which the drawer counts as closed."""
SLIPPED = 0.04
"""The fingers have missed the bar when they are this far behind their contact (m)."""
PUSHING = DriveLimits(speed=0.7)


PRESS_STEPS = 6
"""Control steps for which the hand presses on at the stop: a policy that plays some actions before it
looks again then never leaves a drawer that is still moving."""


class CloseDrawer(Script):
    """Approaches, pushes and returns to rest; starts again if the drawer is not shut."""

    def __init__(self) -> None:
        self._hand = DrawerHand()
        self._stance: Reach | None = None
        self.phase = "approach"
        self._pressed = 0

    def act(self, view: View) -> Action:
        """The next action, float32 (13,)."""
        robot, drawer = view.robot, Drawer.from_view(view)
        self._advance(robot, drawer)
        stance = self._stance = self._stance or _plan(robot, drawer)
        if self.phase == "approach":
            return self._hand.come(robot, _place(drawer), stance.base_pose, stance.posture)
        if self.phase == "push":
            target = _place(drawer, CONTACT - PRESS)
            way = -(drawer.opening + RUN_OUT + max(_gap(robot, drawer), 0.0))
            return self._hand.haul(robot, drawer, target, way, stance.posture, PUSHING)
        return self._hand.rest(robot)

    def _advance(self, robot: RobotState, drawer: Drawer) -> None:
        """Goes to the next phase when the present one is done."""
        if self.phase == "approach" and _in_front(robot, drawer):
            self.phase = "push"
        self._pressed = self._pressed + 1 if drawer.opening < CLOSED else 0
        slipped = _gap(robot, drawer) < -SLIPPED
        if self.phase == "push" and (self._pressed > PRESS_STEPS or slipped):
            self.phase = "return"
        missed = drawer.opening > ENOUGH * drawer.travel and out_clear(robot, drawer)
        if self.phase == "return" and missed:
            self.phase, self._stance = "approach", None


def _place(drawer: Drawer, distance: float = CLEARANCE) -> TcpTarget:
    """Returns the tcp in front of the bar, `distance` (m) from its middle, pointing down."""
    return pointing(drawer.handle + distance * drawer.outward + HEIGHT * UP, -UP)


def _gap(robot: RobotState, drawer: Drawer) -> float:
    """Returns how far the fingers are from touching the bar (m), negative when past it."""
    return float((robot.tcp_position - drawer.handle) @ drawer.outward) - CONTACT


def _in_front(robot: RobotState, drawer: Drawer) -> bool:
    """Says whether the fingers hang low enough in front of the bar's middle."""
    offset = -_place(drawer).position_error(robot.tcp_position)
    return bool(offset[2] < LOW and abs(offset @ drawer.along) < CENTRED)


def _plan(robot: RobotState, drawer: Drawer) -> Reach:
    return find_stance(robot, drawer, _place(drawer), STANCE_DISTANCE)
