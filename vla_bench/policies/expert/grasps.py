"""How to grasp the apple and the bowl from above."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from vla_bench.policies.expert.reach import ReachSolver
from vla_bench.policies.expert.rotations import (
    Array,
    matrix_about_z,
    matrix_from_axes,
)
from vla_bench.policies.expert.script import View
from vla_bench.policies.expert.seen import UP, world_point, world_rotation
from vla_bench.policies.expert.stance import stance_ahead
from vla_bench.policies.expert.target import GRIPPER_FORWARD, Alignment, TcpTarget

REACH: Array = np.array([0.75, 0.0, 0.0])
"""Where the gripper grasps, in base_link (m), but for its height: there the base stays clear of
fridge and counter, and the arm is near its rest posture."""
POINTING_DOWN = (Alignment(GRIPPER_FORWARD, -UP),)

APPLE_HOVER = 0.09
"""Height above the grasp at which the open fingers clear the apple (m)."""
APPLE_OPENING = 0.05
"""Opening of each finger for the apple (m)."""
APPLE_RAISE = 0.005
"""How far above the apple's middle the tcp closes, so that the fingers clear the shelf (m)."""

BOWL_HOVER = 0.12
"""Height above the grasp at which the fingers clear the front of the drawer (m)."""
BOWL_OPENING = 0.03
"""Opening of each finger for the bowl's wall (m)."""
RIM_RADIUS = 0.075
"""Radius of the middle of the bowl's wall at the rim (m)."""
RIM_GRASP = 0.0345
"""Height of the grasp above the bowl's origin (m): only the steep upper part of the wall lies
between the fingers; deeper down they would press on the slope."""
FACETS = 16
"""Number of flat faces of the bowl's wall; the fingers press square on one."""
FREE_FRONT, FREE_SIDE = 0.165, 0.235
"""The hand has room where x and |y| in the drawer's frame are below these (m)."""
OUTER_FINGER = 0.05
"""Distance from the rim to the outside of the outer finger (m)."""
HALF_HAND = 0.065
"""Half the width of the hand (m)."""
CROWDING_PRICE = 30.0
"""Turn of the wrist (rad) that is taken to avoid one metre of touching the drawer."""


@dataclass(frozen=True)
class Grasp:
    """A grasp from above."""

    hover: TcpTarget
    """Tcp above the object, world."""
    target: TcpTarget
    """Tcp at the grasp, world."""
    hover_posture: Array
    """(8,) posture at the hover point."""
    posture: Array
    """(8,) posture at the grasp."""
    opening: float
    """Opening of each finger on the way down (m)."""
    place: Array
    """(3,) where the object was when the grasp was chosen, world (m)."""

    def following(self, view: View) -> Grasp:
        """Returns the grasp moved along with the object, which a clumsy finger may have pushed."""
        now = world_point(view, "object_pose")
        shift = now - self.place
        return replace(
            self,
            hover=replace(self.hover, position=self.hover.position + shift),
            target=replace(self.target, position=self.target.position + shift),
            place=now,
        )


def apple_in_fridge(view: View) -> Grasp:
    """Grasps the apple around its middle; the hand may turn about the vertical as it likes."""
    middle = world_point(view, "object_pose") + APPLE_RAISE * UP
    target = TcpTarget(middle, alignments=POINTING_DOWN)
    return _from_above(view, target, APPLE_HOVER, APPLE_OPENING)


def bowl_in_drawer(view: View) -> Grasp:
    """Grasps the bowl's rim with one finger inside, square to that facet of the wall which turns
    the wrist least, among those where the drawer leaves room for the hand.
    """
    bowl = world_point(view, "object_pose") + RIM_GRASP * UP
    turned = world_rotation(view, "object_pose")
    natural = _natural_closing(float(bowl[2]))
    candidates = []
    for angle in (np.arange(FACETS) + 0.5) * 2.0 * math.pi / FACETS:
        outward = turned @ np.array([math.cos(angle), math.sin(angle), 0.0])
        rim = bowl + RIM_RADIUS * outward
        yaw = float(stance_ahead(view.robot.base_pose, rim, REACH)[2])
        agreement = float(outward @ (matrix_about_z(yaw) @ natural))
        turn = math.acos(min(abs(agreement), 1.0))
        cost = turn + CROWDING_PRICE * _crowding(view, rim, outward)
        candidates.append((cost, rim, math.copysign(1.0, agreement) * outward))
    _, rim, closing = min(candidates, key=lambda candidate: candidate[0])
    return _from_above(
        view, TcpTarget(rim, matrix_from_axes(-UP, closing)), BOWL_HOVER, BOWL_OPENING
    )


def _crowding(view: View, rim: Array, outward: Array) -> float:
    """Returns by how much (m) hand and outer finger would touch the drawer's front and sides."""
    into_drawer = world_rotation(view, "handle_link_pose").T
    wall = into_drawer @ (rim - world_point(view, "handle_link_pose"))
    finger = wall + OUTER_FINGER * (into_drawer @ outward)
    front = max(float(wall[0]) + HALF_HAND, float(finger[0])) - FREE_FRONT
    side = abs(float(finger[1])) - FREE_SIDE
    return max(front, 0.0) + max(side, 0.0)


def _natural_closing(height: float) -> Array:
    """Returns the closing direction (3,) in base_link of the cheapest posture that points down."""
    solver = ReachSolver()
    target = TcpTarget(REACH + height * UP, alignments=POINTING_DOWN)
    closing: Array = solver.kinematics.forward(solver.posture(target).posture).tcp_rotation[:, 1]
    return closing


def _from_above(view: View, target: TcpTarget, rise: float, opening: float) -> Grasp:
    yaw = float(stance_ahead(view.robot.base_pose, target.position, REACH)[2])
    hover = TcpTarget(target.position + rise * UP, target.rotation, target.alignments)
    return Grasp(
        hover=hover,
        target=target,
        hover_posture=_posture(hover, yaw),
        posture=_posture(target, yaw),
        opening=opening,
        place=world_point(view, "object_pose"),
    )


def _posture(target: TcpTarget, yaw: float) -> Array:
    """Returns the posture (8,) at a world target that lies at `REACH` of a base heading `yaw`."""
    turn = None if target.rotation is None else matrix_about_z(-yaw) @ target.rotation
    in_base = TcpTarget(REACH + target.position[2] * UP, turn, target.alignments)
    return ReachSolver().posture(in_base).posture
