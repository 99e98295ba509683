"""A script for LIBERO's pick-and-place tasks: take the thing, carry it over, set it down, let go.

What to do next is decided from what is seen. The only memory is the intention to hold: it bridges
a contact that flickers, and tells opening from closing fingers.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vla_bench.errors import UserError
from vla_bench.items import WorkItem
from vla_bench.policies.base import Observation
from vla_bench.policies.expert.libero_grasp import Box, box_of, choose_grasp
from vla_bench.policies.expert.rotations import (
    Array,
    matrix_about_z,
    matrix_from_vector,
    rotation_vector,
    wrap_angle,
)

BEYOND = re.compile(
    r"\b(open|close|turn-on|turn-off|push|stack|microwave|shelf)\b"
    r"|moka-pot|frying-pan|drawer(?!-of-the-wooden-cabinet-and-place)"
)
"""Task names that ask for what the script cannot; it can take a thing out of an open drawer."""
Act = Callable[[Observation], NDArray[np.float32]]
STATE = {"tcp_position": 3, "tcp_rotation": 3, "gripper_qpos": 2}
PRIVILEGED = {"object_pose": 7, "object_box": 6, "goal_pose": 7, "goal_box": 6, "is_grasped": 1}

DOWN = np.diag([1.0, -1.0, -1.0])
"""Rotation of a gripper that points down at yaw 0."""
OPEN, CLOSE = -1.0, 1.0
PACE, PACE_LOADED = 0.9, 0.8
"""Largest translation action, empty and loaded; 1 makes about 0.3 m/s."""
TURN = 0.6
"""Largest rotation action."""
REACH_GAIN, TURN_GAIN = 30.0, 2.5
"""Action per metre and per radian of error."""
CONE, CONE_TOP, CONE_TIP = 2.0, 0.15, 0.008
"""The way down lies in a cone: m of height per m aside, up to the second (m), from the third (m) on."""
LIFT = 0.11
"""m: so far a thing is lifted before it leaves the place where it was taken."""
AT, AT_YAW = 0.008, 0.1
"""m and rad: the gripper is where it was to go."""
OPENED = 0.072
"""m between the fingers from which the gripper may leave what it let go."""
RIM_HINTS = {"next-to-the-ramekin": 0.5 * math.pi, "in-the-top-drawer": 0.865 * math.pi}
"""Where (rad) to take a bowl whose surroundings, which are not seen, leave little room."""
STILL, BLOCKED_STEPS = 0.001, 10
"""m per step below which nothing moves, and how long that may last on the way to a grasp."""
CLOSING_STEPS, FIRM_STEPS, LOST_STEPS = 14, 3, 4
"""How long a grasp is tried, how long contact must last to count, and how long its lack."""


@dataclass(frozen=True)
class Sight:
    """One observation, ready for use; world frame."""

    tcp: Array
    """(3,) m."""
    rotation: Array
    """(3, 3) of the gripper."""
    opening: float
    """m between the fingers."""
    thing: Box
    """What is to be moved."""
    goal: Box
    """What it is to be put on or into."""
    grasped: bool
    """Both fingers touch the thing."""

    @property
    def yaw(self) -> float:
        """Angle of the gripper about the vertical (rad)."""
        return math.atan2(self.rotation[1, 0], self.rotation[0, 0])


def see(observation: Observation) -> Sight:
    """Reads an observation with the entries of `STATE` and `PRIVILEGED`."""
    state, seen = observation.state, observation.privileged
    return Sight(
        tcp=np.asarray(state["tcp_position"], dtype=np.float64),
        rotation=matrix_from_vector(state["tcp_rotation"]),
        opening=float(np.abs(state["gripper_qpos"]).sum()),
        thing=box_of(seen["object_pose"], seen["object_box"]),
        goal=box_of(seen["goal_pose"], seen["goal_box"]),
        grasped=bool(seen["is_grasped"][0] > 0.5),
    )


def start(item: WorkItem) -> Act:
    """The script of one episode.

    Raises:
        UserError: The task is not a matter of picking up and setting down.
    """
    if BEYOND.search(item.task):
        raise UserError(
            f"no expert for {item.task}: the one for LIBERO only picks up and sets down; "
            "no drawers but to take from, doors, knobs, pushing, stacking, shelves, moka pots or pans"
        )
    hints = [angle for words, angle in RIM_HINTS.items() if words in item.task]
    return Script(hints[0] if hints else None)


class Script:
    """The expert of one episode."""

    def __init__(self, hint: float | None = None) -> None:
        self._hint = hint
        self._attempt = 0
        self._blocked = 0
        self._tcp = np.full(3, np.inf)
        self._holding = False
        self._anchor = np.zeros(3)
        self._closing = 0
        self._firm = 0
        self._lost = 0
        self._still = 0

    def __call__(self, observation: Observation) -> NDArray[np.float32]:
        """The next action, float32 (7,)."""
        sight = see(observation)
        self._notice(sight)
        if not self._holding:
            return self._approach(sight)
        if self._firm < FIRM_STEPS:
            return self._close(sight)
        return self._carry(sight)

    def _notice(self, sight: Sight) -> None:
        """Keeps count of contact, and gives up what slipped away."""
        moved = sight.tcp - self._tcp
        self._tcp = sight.tcp
        self._still = self._still + 1 if moved[2] > -STILL else 0
        self._blocked = self._blocked + 1 if float(np.linalg.norm(moved)) < STILL else 0
        if not self._holding:
            return
        self._closing += 1
        self._lost = 0 if sight.grasped else self._lost + 1
        if self._firm < FIRM_STEPS:
            self._firm = self._firm + 1 if sight.grasped else 0
            gone = self._closing > CLOSING_STEPS
            self._attempt += gone
        else:
            gone = self._lost > LOST_STEPS
        if gone or _apart(sight):
            self._let_go()

    def _let_go(self) -> None:
        self._holding, self._closing, self._firm, self._lost = False, 0, 0, 0

    def _approach(self, sight: Sight) -> NDArray[np.float32]:
        """Opens, goes above the grasp, then down the cone; intends to hold once it is there."""
        if sight.opening < OPENED and self._blocked <= BLOCKED_STEPS:
            return _act(sight, np.zeros(3), sight.yaw, OPEN)
        if self._blocked > BLOCKED_STEPS:
            self._attempt, self._blocked = self._attempt + 1, 0
        grasp = choose_grasp(sight.thing, sight.goal, sight.yaw, self._hint, self._attempt)
        error = grasp.point - sight.tcp
        turn = abs(wrap_angle(grasp.yaw - sight.yaw))
        if np.hypot(*error[:2]) < AT and abs(error[2]) < AT and turn < AT_YAW:
            self._holding, self._anchor = True, grasp.point
            return self._close(sight)
        return _act(sight, _along_cone(error, turn, PACE), grasp.yaw, OPEN)

    def _close(self, sight: Sight) -> NDArray[np.float32]:
        # The arm sags and drifts if it is not told where to stay.
        return _act(sight, REACH_GAIN * (self._anchor - sight.tcp), sight.yaw, CLOSE)

    def _carry(self, sight: Sight) -> NDArray[np.float32]:
        """Brings the thing over its destination, down the cone, and lets go where it rests."""
        error = _to_goal(sight)
        aside = float(np.hypot(*error[:2]))
        rests = self._still > LOST_STEPS and error[2] > -0.05
        if aside < 2 * AT and (error[2] > -AT or rests):
            self._let_go()
            return _act(sight, np.zeros(3), sight.yaw, OPEN)
        lift = -math.inf
        # Nearer to where it was taken than to the goal, it has to clear the walls around it.
        if float(np.hypot(*(sight.tcp - self._anchor)[:2])) < aside:
            lift = LIFT + self._anchor[2] - sight.tcp[2]
        return _act(sight, _along_cone(error, 0.0, PACE_LOADED, lift), sight.yaw, CLOSE)


def _apart(sight: Sight) -> bool:
    """Whether the thing lies where the gripper cannot hold it, as after a change of the goal."""
    reach = float(np.linalg.norm(sight.thing.half)) + 0.02
    return float(np.linalg.norm(sight.thing.centre - sight.tcp)) > reach


def _to_goal(sight: Sight) -> Array:
    """The displacement (3,) that the thing has still to make (m)."""
    goal = sight.goal
    # Into something deep the thing is lowered; on something flat it is pressed till it rests.
    level = goal.centre[2] - (0.5 * goal.rise if goal.rise > 0.03 else 0.0)
    return np.array([*(goal.position - sight.thing.position)[:2], level - sight.thing.bottom])


def _along_cone(error: Array, turn: float, pace: float, lift: float = -math.inf) -> Array:
    """The translation action (3,) that goes by way of the cone above the place to reach.

    Args:
        error: (3,) from here to there (m).
        turn: Angle that is still to be turned before the last of the way down (rad).
        pace: Its largest length.
        lift: How far (m) it has to go up in any case.
    """
    aside = float(np.hypot(*error[:2])) + 0.1 * max(turn - AT_YAW, 0.0)
    up = max(error[2] + min(CONE * max(aside - CONE_TIP, 0.0), CONE_TOP), lift)
    # Below the cone there may be walls and neighbours: first up, then aside.
    free = min(max(1.0 - (up - 0.02) / 0.04, 0.0), 1.0)
    action = REACH_GAIN * np.array([free * error[0], free * error[1], up])
    limited: Array = action * min(1.0, pace / max(float(np.linalg.norm(action)), 1e-9))
    return limited


def _act(sight: Sight, move: Array, yaw: float, grip: float) -> NDArray[np.float32]:
    """The action (7,): a translation, whatever keeps the gripper pointing down, and the fingers."""
    wanted = matrix_about_z(yaw) @ DOWN
    turn = TURN_GAIN * rotation_vector(wanted @ sight.rotation.T)
    turn *= min(1.0, TURN / max(float(np.linalg.norm(turn)), 1e-9))
    action = np.array([*move, *turn, grip], dtype=np.float32)
    return np.clip(action, np.float32(-1), np.float32(1))
