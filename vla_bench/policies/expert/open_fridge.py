"""Opens the fridge: the fingers straddle the upper end of its upright bar and swing it around.

At that height the gripper is almost where it rests, so hardly any time goes into the arm. The hand
nearly keeps its heading while the door turns: the pull that began in the closed fingers ends as a
push of the finger between bar and door. Base, torso and arm follow the bar together; a wish for
the base's yaw makes it back off on the side that the door leaves free, and push on from there.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from vla_bench.policies.expert.actuators import ARM_RATE, GRIPPER_CLOSED, GRIPPER_OPEN, STEP
from vla_bench.policies.expert.base_drive import BaseMotion, DriveLimits, drive_straight
from vla_bench.policies.expert.hinged_door import HingedDoor, level_tilted
from vla_bench.policies.expert.kinematics import REST_POSTURE
from vla_bench.policies.expert.rest import at_rest
from vla_bench.policies.expert.robot_state import RobotState
from vla_bench.policies.expert.rotations import Array, wrap_angle
from vla_bench.policies.expert.script import Action, Script, View
from vla_bench.policies.expert.seen import UP
from vla_bench.policies.expert.stance import behind
from vla_bench.policies.expert.target import TcpTarget
from vla_bench.policies.expert.whole_body import PLANNED_BASE, TrackLimits, WholeBodyController

GRIP_HEIGHT = 0.145
"""How far above the bar's middle the fingers take it (m): the palm passes over its upper end."""
TILT = math.radians(45.0)
"""Angle of the gripper up from straight down: steep is near rest, flat reaches behind the bar."""
ASIDE = math.radians(29.0)
"""Angle by which the hand comes from the door's free edge instead of square to the door."""
HAND_TURN = 0.2
"""How far the hand turns with the opening door (rad per rad)."""
REACH_POSTURE: Array = REST_POSTURE + np.array([-0.16, 0.2, 0.14, -0.35, -0.54, -0.44, -0.74, 0.35])
"""(8,) a posture that holds the gripper so, 0.8 m ahead of the base; the arm is drawn to it."""
FACING, BASE_TURN = 0.2, 0.6
"""Yaw wished of the base: this far (rad) towards the free edge of the door at first, and turning
so far (rad per rad) against the opening door."""
YAW_GAIN, YAW_RATE = 0.3, 2.0
"""Share of the yaw's error that the base is wished to make up per step; bound on that (rad/s)."""

STANDOFF = 0.12
"""Distance from the bar (m) up to which a hand out of line keeps."""
LINE, LINE_ANGLE = 0.015, 0.2
"""Errors (m, rad) with which the fingers may go past the bar."""
HOLD_BACK, HOLD_BACK_ANGLE = 4.0, 0.4
"""Standoff per error beyond these (m per m, m per rad)."""
AT_BAR = 0.025
"""Distance of the tcp from its place on the bar (m) at which the fingers close."""

SWING_SPEED, SWING_START = 1.4, 4.0
"""Speed of the opening door (rad/s), and how fast it picks up (rad/s^2)."""
LEAD = 0.15
"""How far (rad) the hand's goal may be ahead of the door."""
UNCLASP = 0.9
"""Angle (rad) beyond which the hooked finger is enough and the other one gives way."""
OPEN_FRACTION = 0.82
"""Share of the door's range at which the hand lets go; success takes 0.75."""
SUCCESS_FRACTION = 0.76
"""Less than this at the end, and the script starts over."""
LOST = 0.18
"""Distance of the tcp from the bar (m) at which the swing is given up."""
UNHOOK_LEAD, UNHOOK_RISE = 0.2, 0.1
"""When letting go, the hand follows the coasting door (rad) and rises above the bar (m)."""
RETREAT = 0.3
"""How far the base backs off while the arm returns (m)."""
CLOSE_STEPS, UNHOOK_STEPS, PATIENCE = 5, 6, 60
"""Control steps after which closing, unhooking, and reaching or swinging, end in any case."""
SWINGING = TrackLimits(
    speed=1.5,
    braking=3.0,
    gain=0.5,
    angular_speed=2.5,
    base_yaw_rate=2.5,
    base_speed=1.0,
    arm_rate=ARM_RATE,
    lead=1.0,
)
"""The swing is at full speed: a hand slower than the door loses it, or takes it along when it leaves."""
LEAVING = DriveLimits(speed=1.0, braking=3.0, yaw_rate=2.0, turn_gain=12.0, approach_gain=10.0)
"""So is the retreat."""


class OpenFridge(Script):
    """Reaches for the bar, swings the door open, unhooks and returns to rest."""

    def __init__(self) -> None:
        self._controller = WholeBodyController()
        self._actions = {
            "reach": self._reach,
            "close": self._close,
            "swing": self._swing,
            "unhook": self._unhook,
            "return": self._return,
        }
        self.phase = "reach"
        self._steps = 0

    def act(self, view: View) -> Action:
        """The next action, float32 (13,)."""
        door = HingedDoor.from_view(view)
        phase = self._due_phase(view, door)
        if phase != self.phase:
            self._enter(phase, view.robot, door)
        self._steps += 1
        return self._actions[phase](view.robot, door)

    def _due_phase(self, view: View, door: HingedDoor) -> str:
        """Says which phase is due: the present one until it is done, given up, or took too long."""
        phase, steps, robot = self.phase, self._steps, view.robot
        away = float(np.linalg.norm(_grip(door, door.angle).position - robot.tcp_position))
        if phase == "reach" and away < AT_BAR:
            return "close"
        if phase == "close" and (view.grasped or steps >= CLOSE_STEPS):
            return "swing"
        if phase == "swing" and (door.fraction > OPEN_FRACTION or away > LOST or steps >= PATIENCE):
            return "unhook"
        if steps >= {"unhook": UNHOOK_STEPS, "reach": PATIENCE}.get(phase, steps + 1):
            return "return"
        if phase == "return" and door.fraction < SUCCESS_FRACTION and at_rest(robot):
            return "reach"
        return phase

    def _enter(self, phase: str, robot: RobotState, door: HingedDoor) -> None:
        self.phase, self._steps = phase, 0
        if phase == "swing":
            self._speed, self._goal = 0.0, door.angle
        if phase == "unhook":
            position = _grip(door, door.angle + UNHOOK_LEAD).position + UNHOOK_RISE * UP
            self._above = TcpTarget(position, robot.tcp_rotation)
        if phase == "return":
            self._behind = behind(robot, RETREAT)

    def _reach(self, robot: RobotState, door: HingedDoor) -> Action:
        """Leads the open fingers into line with the bar and past it, the base following."""
        target = _held_back(_grip(door, door.angle), robot)
        base = _facing(robot, door, door.angle)
        return self._controller.track(robot, target, base=base, posture=REACH_POSTURE)

    def _close(self, robot: RobotState, door: HingedDoor) -> Action:
        return self._controller.track(
            robot,
            _grip(door, door.angle),
            posture=REACH_POSTURE,
            weights=PLANNED_BASE,
            gripper=GRIPPER_CLOSED,
        )

    def _swing(self, robot: RobotState, door: HingedDoor) -> Action:
        """Leads the bar around the hinge; the arm relaxes towards rest meanwhile."""
        self._speed = min(SWING_SPEED, self._speed + SWING_START * STEP)
        self._goal = min(self._goal + self._speed * STEP, door.angle + LEAD)
        target = replace(_grip(door, self._goal), velocity=self._speed * door.pull_at(self._goal))
        gripper = GRIPPER_CLOSED if door.angle < UNCLASP else GRIPPER_OPEN
        base = _facing(robot, door, self._goal)
        return self._controller.track(robot, target, base=base, gripper=gripper, limits=SWINGING)

    def _unhook(self, robot: RobotState, door: HingedDoor) -> Action:
        return self._controller.track(robot, self._above, weights=PLANNED_BASE, limits=SWINGING)

    def _return(self, robot: RobotState, door: HingedDoor) -> Action:
        base = drive_straight(robot, self._behind, limits=LEAVING)
        return self._controller.return_to_rest(
            robot, base=base, gripper=GRIPPER_OPEN, rate=ARM_RATE, gain=0.8
        )


def _grip(door: HingedDoor, angle: float) -> TcpTarget:
    """Returns the tcp at the bar's upper end when the door is open by `angle` (rad)."""
    yaw = door.into + door.turn * (HAND_TURN * angle - ASIDE)
    return TcpTarget(door.handle_at(angle) + GRIP_HEIGHT * UP, level_tilted(yaw, TILT))


def _held_back(target: TcpTarget, robot: RobotState) -> TcpTarget:
    """Returns the target, drawn back along the hand's heading while the tcp is out of line."""
    assert target.rotation is not None
    heading = target.rotation[:, 0] * np.array([1.0, 1.0, 0.0])
    heading /= np.linalg.norm(heading)
    error = target.position_error(robot.tcp_position)
    aside = float(np.linalg.norm(error - (error @ heading) * heading))
    askew = target.rotation_error(robot.tcp_rotation)
    wanted = max(HOLD_BACK * (aside - LINE), HOLD_BACK_ANGLE * (askew - LINE_ANGLE), 0.0)
    return replace(target, position=target.position - min(wanted, STANDOFF) * heading)


def _facing(robot: RobotState, door: HingedDoor, angle: float) -> BaseMotion:
    """Returns the wish that the base turn to where it can follow the door at `angle` (rad)."""
    error = wrap_angle(door.into + door.turn * (FACING - BASE_TURN * angle) - robot.yaw)
    return BaseMotion(yaw=float(np.clip(YAW_GAIN * error / STEP, -YAW_RATE, YAW_RATE)))
