"""A drawer as the scripts see it: its bar handle, the way it slides, how far it is open."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vla_bench.policies.expert.reach import Penalty
from vla_bench.policies.expert.rotations import Array
from vla_bench.policies.expert.script import View

UP: Array = np.array([0.0, 0.0, 1.0])
BAR_HALF = 0.010
"""Half the thickness of the handle bar (m)."""
FINGER_HALF = 0.014
"""Half the thickness of the closed fingers (m)."""
LANE_UNIT = 0.1
ASKEW_UNIT = 0.7
"""Sideways distance (m) and angle (rad) that `easy_stance` counts as one unit of trespass."""


@dataclass(frozen=True)
class Drawer:
    """One drawer at one control step, in the frame of `RobotState.to_world`."""

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
        axis = view.robot.base_rotation @ np.asarray(view.privileged["handle_axis"][3:], np.float64)
        outward = np.array([axis[0], axis[1], 0.0])
        return cls(
            handle=view.robot.to_world(np.asarray(view.privileged["goal_position"], np.float64)),
            outward=outward / np.linalg.norm(outward),
            opening=value - lower,
            travel=upper - lower,
        )

    @property
    def along(self) -> Array:
        """(3,) unit vector along the bar, to the left of who faces the drawer."""
        return np.cross(self.outward, UP)

    def handle_at(self, opening: float) -> Array:
        """Returns the bar's middle (3,) when the drawer is open by `opening` (m)."""
        return self.handle + (opening - self.opening) * self.outward


def easy_stance(here: Array, drawer: Drawer) -> Penalty:
    """Returns a penalty on stances that are off the straight way from `here` (3,), or look askew.

    The first saves turning; the second bounds how far the fingers are carried along the bar.
    """
    into = -drawer.outward

    def penalty(base_pose: Array, skeleton: Array) -> Array:
        away = here[:2] - base_pose[:2]
        c, s = np.cos(base_pose[2]), np.sin(base_pose[2])
        aside = c * away[1] - s * away[0]
        askew = np.arctan2(c * into[1] - s * into[0], c * into[0] + s * into[1])
        return np.array([aside / LANE_UNIT, askew / ASKEW_UNIT])

    return penalty
