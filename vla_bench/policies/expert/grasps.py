"""How to grasp the apple and the bowl from above, and where to stand for it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from vla_bench.policies.expert.kinematics import fetch_kinematics
from vla_bench.policies.expert.reach import ReachSolver
from vla_bench.policies.expert.rotations import (
    Array,
    matrix_about_z,
    matrix_from_axes,
    matrix_from_quaternion,
    wrap_angle,
)
from vla_bench.policies.expert.script import View
from vla_bench.policies.expert.stance import stance_facing, stance_straight_ahead
from vla_bench.policies.expert.target import GRIPPER_FORWARD, Alignment, TcpTarget

REACH: Array = np.array([0.70, 0.0])
"""Where the gripper grasps, in base_link (m): there the arm is nearest to its rest posture."""
DOWN: Array = np.array([0.0, 0.0, -1.0])

APPLE_HOVER = 0.09
"""Height above the grasp at which the open fingers clear the apple (m)."""
APPLE_OPENING = 0.05
"""Opening of each finger for the apple (m)."""
DOOR_CLEARANCE = 0.11
"""Distance of the arm's skeleton from the plane through the hinge (m): half an arm and a margin."""
TURN_STEP = 0.05
"""Step of the search for a heading (rad)."""

BOWL_HOVER = 0.12
"""Height above the grasp at which the fingers clear the front of the drawer (m)."""
BOWL_OPENING = 0.03
"""Opening of each finger for the bowl's wall (m)."""
BOWL_RIM: Array = np.array([0.075, 0.0275])
"""Radius and height of the middle of the bowl's rim above its origin (m)."""
RIM_DEPTH = -0.007
"""How far below the rim the tcp goes (m)."""
FACETS = 16
"""Number of flat faces of the bowl's wall; the fingers press square on one."""
DRAWER_ROOM: Array = np.array([0.165, 0.235])
"""Inside the drawer, x and |y| below these are free for the hand, in the drawer's frame (m)."""
OUTER_FINGER = 0.050
"""Distance from the rim to the outside of the outer finger (m)."""
HALF_HAND = 0.065
"""Half the width of the hand (m)."""


@dataclass(frozen=True)
class Grasp:
    """A grasp from above and the stance for it."""

    hover: TcpTarget
    """Tcp above the object, world."""
    target: TcpTarget
    """Tcp at the grasp, world."""
    hover_posture: Array
    """(8,) posture at the hover point."""
    posture: Array
    """(8,) posture at the grasp."""
    stance: Array
    """(3,) base pose of both, world."""
    opening: float
    """Opening of each finger on the way down (m)."""

    def retreat(self, distance: float) -> Array:
        """Returns the base pose (3,) that lies `distance` (m) behind the stance."""
        heading = np.array([math.cos(self.stance[2]), math.sin(self.stance[2]), 0.0])
        return self.stance - distance * heading


def apple_in_fridge(view: View) -> Grasp:
    """Grasps the apple around its middle, from a heading at which the elbow clears the door."""
    apple = view.robot.to_world(view.privileged["object_pose"][:3])
    posture = _posture_down(float(apple[2]))
    skeleton = fetch_kinematics().forward(posture).points
    straight = stance_straight_ahead(view.robot.base_pose, apple, REACH)
    hinge, inward = _hinge(view)
    stance = straight
    # The hinge is on the right of who faces the fridge, and so is the elbow: the further the
    # base turns to the right, the further left it stands and the freer is the elbow.
    for turn in np.arange(0.0, 1.2, TURN_STEP):
        stance = stance_facing(apple, REACH, float(straight[2]) - turn)
        if _right_of(skeleton, stance, hinge, inward) > DOOR_CLEARANCE:
            break
    down = Alignment(GRIPPER_FORWARD, DOWN)
    return _grasp(apple, (down,), None, stance, APPLE_HOVER, APPLE_OPENING)


def bowl_in_drawer(view: View) -> Grasp:
    """Grasps the bowl's rim with one finger inside, square to that facet of the wall which turns
    the wrist least, among those where the drawer leaves room for the hand.
    """
    robot = view.robot
    pose = np.asarray(view.privileged["object_pose"], dtype=np.float64)
    bowl, turned = robot.to_world(pose[:3]), robot.base_rotation @ matrix_from_quaternion(pose[3:])
    height = float(bowl[2] + BOWL_RIM[1] - RIM_DEPTH)
    chain = fetch_kinematics().forward(_posture_down(height))
    best: tuple[float, Array, Array, Array] | None = None
    for facet in range(FACETS):
        angle = (facet + 0.5) * 2 * math.pi / FACETS
        outward = turned @ np.array([math.cos(angle), math.sin(angle), 0.0])
        rim = np.array([*(bowl + BOWL_RIM[0] * outward)[:2], height])
        stance = stance_straight_ahead(robot.base_pose, rim, REACH)
        closing = matrix_about_z(float(stance[2])) @ chain.tcp_rotation[:, 1]
        closing = math.copysign(1.0, float(closing @ outward)) * outward
        natural = matrix_about_z(float(stance[2])) @ chain.tcp_rotation[:, 1]
        cost = math.acos(min(1.0, float(abs(natural @ outward)))) + 10.0 * _crowding(
            view, rim, outward
        )
        if best is None or cost < best[0]:
            best = (cost, rim, closing, stance)
    assert best is not None
    _, rim, closing, stance = best
    return _grasp(rim, (), matrix_from_axes(DOWN, closing), stance, BOWL_HOVER, BOWL_OPENING)


def _crowding(view: View, rim: Array, outward: Array) -> float:
    """Returns by how much (m) hand and outer finger would touch the drawer's front and sides."""
    pose = view.privileged["handle_link_pose"]
    turn = view.robot.base_rotation @ matrix_from_quaternion(pose[3:])
    rim_in_drawer = turn.T @ (rim - view.robot.to_world(pose[:3]))
    finger = rim_in_drawer + OUTER_FINGER * (turn.T @ outward)
    front = max(rim_in_drawer[0] + HALF_HAND, finger[0]) - DRAWER_ROOM[0]
    side = abs(finger[1]) - DRAWER_ROOM[1]
    return float(max(front, 0.0) + max(side, 0.0))


def _hinge(view: View) -> tuple[Array, float]:
    """Returns the fridge's hinge (2,) (m) and the heading (rad) of who faces the fridge, world."""
    link = matrix_from_quaternion(view.privileged["handle_link_pose"][3:])
    # Turned back by the hinge's angle, the door's x axis points out of the fridge.
    outward = math.atan2(link[1, 0], link[0, 0]) - float(view.privileged["handle_joint"][0])
    hinge = view.robot.to_world(view.privileged["handle_axis"][:3])[:2]
    return hinge, wrap_angle(view.robot.yaw + outward + math.pi)


def _right_of(skeleton: Array, stance: Array, hinge: Array, inward: float) -> float:
    """Returns how far (m) the skeleton (N, 3) stays left of the hinge for who looks `inward`."""
    points = skeleton @ matrix_about_z(float(stance[2])).T + [stance[0], stance[1], 0.0]
    left = np.array([-math.sin(inward), math.cos(inward)])
    return float(((points[:, :2] - hinge) @ left).min())


def _posture_down(height: float) -> Array:
    """Returns the posture (8,) with the gripper down at `REACH` and `height` (m), any roll."""
    target = TcpTarget(np.array([*REACH, height]), alignments=(Alignment(GRIPPER_FORWARD, DOWN),))
    return ReachSolver().posture(target).posture


def _grasp(
    point: Array,
    alignments: tuple[Alignment, ...],
    rotation: Array | None,
    stance: Array,
    hover: float,
    opening: float,
) -> Grasp:
    solver = ReachSolver()

    def at(rise: float) -> tuple[TcpTarget, Array]:
        up = np.array([0.0, 0.0, rise])
        turned = None if rotation is None else matrix_about_z(-float(stance[2])) @ rotation
        in_base = TcpTarget(np.array([*REACH, point[2]]) + up, turned, alignments)
        return TcpTarget(point + up, rotation, alignments), solver.posture(in_base).posture

    above, hover_posture = at(hover)
    target, posture = at(0.0)
    return Grasp(above, target, hover_posture, posture, stance, opening)
