"""A hinged door as the scripts see it: its upright hinge, a place on its handle, its angle."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from vla_bench.policies.expert.rotations import Array, cross, matrix_about_z
from vla_bench.policies.expert.script import View
from vla_bench.policies.expert.seen import UP, world_point


@dataclass(frozen=True)
class HingedDoor:
    """One door at one control step, in the frame of `RobotState.to_world`."""

    hinge: Array
    """(3,) a point of the hinge's line (m)."""
    handle: Array
    """(3,) middle of the upright bar (m)."""
    turn: float
    """+1 if the door opens counter-clockwise seen from above, else -1."""
    angle: float
    """How far it is open (rad)."""
    travel: float
    """How far it can be opened (rad)."""

    @classmethod
    def from_view(cls, view: View) -> HingedDoor:
        """Reads the joint, its axis and the handle point."""
        value, lower, upper = (float(number) for number in view.privileged["handle_joint"])
        return cls(
            hinge=world_point(view, "handle_axis"),
            handle=world_point(view, "goal_position"),
            turn=math.copysign(1.0, float(view.privileged["handle_axis"][5])),
            angle=value - lower,
            travel=upper - lower,
        )

    @property
    def fraction(self) -> float:
        """Share of its range by which the door is open."""
        return self.angle / self.travel

    def handle_at(self, angle: float) -> Array:
        """Returns the bar's middle (3,) when the door is open by `angle` (rad)."""
        turned: Array = self.hinge + self._turned(angle) @ (self.handle - self.hinge)
        return turned

    def pull_at(self, angle: float) -> Array:
        """Returns the derivative (3,) of `handle_at` (m/rad): the way the opening bar moves."""
        return self.turn * cross(UP, self.handle_at(angle) - self.hinge)

    @property
    def into(self) -> float:
        """World yaw (rad) of who faces the handle of the closed door, ready to pull it."""
        pull = self.pull_at(0.0)
        return math.atan2(-pull[1], -pull[0])

    def _turned(self, angle: float) -> Array:
        return matrix_about_z(self.turn * (angle - self.angle))


def level_tilted(yaw: float, tilt: float) -> Array:
    """Returns a gripper rotation (3, 3) that closes level: yaw (rad) and angle up from straight
    down (rad).
    """
    heading = np.array([math.cos(yaw), math.sin(yaw), 0.0])
    forward = math.sin(tilt) * heading - math.cos(tilt) * UP
    closing = cross(UP, heading)
    return np.column_stack([forward, closing, cross(forward, closing)])
