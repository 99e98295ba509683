"""What a scripted expert may see of a live LIBERO world: the goal that is still to be reached.

The entries belong to the first goal predicate that does not hold yet (to the last one if all hold).
All poses are in the world frame, quaternions are (w, x, y, z). The world is only read.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import mujoco
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
FINGERS = ("left_finger", "right_finger")


class Domain(Protocol):
    """The parts of LIBERO's domain object (`ControlEnv.env`) that are read here."""

    sim: Any
    robots: Any
    parsed_problem: dict[str, Any]
    obj_body_id: dict[str, int]
    object_sites_dict: dict[str, Any]

    def _eval_predicate(self, state: list[str]) -> bool: ...


@dataclass(frozen=True)
class Thing:
    """A body or a site of the loaded model, with its box."""

    index: int
    """Id of the body or site."""
    is_site: bool
    """Whether `index` is a site's."""
    box: Floats
    """(6,) centre and half extents in the thing's own frame (m)."""
    geoms: NDArray[np.bool_]
    """(ngeom,) which geometries are the thing's; none for a site."""


@dataclass(frozen=True)
class Goal:
    """One goal predicate and the two things that it is about."""

    predicate: list[str]
    """As the problem file has it, e.g. ["on", "bowl_1", "plate_1"]."""
    subject: Thing
    """What is to be moved."""
    destination: Thing
    """What it is to be put on or into; a unary predicate's only thing."""


class GoalView:
    """Reads the privileged entries; make a new one whenever the model was built again."""

    def __init__(self, domain: Domain) -> None:
        self._domain = domain
        self._model, self._data = domain.sim.model._model, domain.sim.data._data
        groups = domain.robots[0].gripper.important_geoms
        self._fingers = [_named_geoms(domain, groups[name]) for name in FINGERS]
        self._goals = [self._goal(state) for state in domain.parsed_problem["goal_state"]]

    def entries(self) -> dict[str, NDArray[np.float32]]:
        """Returns the entries of the goal that is still to be reached, float32.

        `object_pose` (7,) and `goal_pose` (7,): position (m) and quaternion; `object_box` (6,) and
        `goal_box` (6,): centre and half extents (m) in the thing's own frame; `is_grasped` (1,).
        """
        goal = self._pending()
        values = {
            "object_pose": self._pose(goal.subject),
            "object_box": goal.subject.box,
            "goal_pose": self._pose(goal.destination),
            "goal_box": goal.destination.box,
            "is_grasped": np.array([self._is_grasped(goal.subject)]),
        }
        return {name: value.astype(np.float32) for name, value in values.items()}

    def subject(self) -> int:
        """Id of the body that is to be moved next, or of the one that what is to be moved is part of."""
        thing = self._pending().subject
        return int(self._model.site_bodyid[thing.index]) if thing.is_site else thing.index

    def named(self) -> NDArray[np.bool_]:
        """Geometries of all that the goal names, those that are only drawn included: (ngeom,).

        A region stands for the body that it is a part of, a drawer for one; a part of the table for none.
        """
        bodies = np.zeros(self._model.nbody, bool)
        things = np.any([family(self._model, b) for b in self._domain.obj_body_id.values()], axis=0)
        for thing in (thing for goal in self._goals for thing in (goal.subject, goal.destination)):
            body = int(self._model.site_bodyid[thing.index]) if thing.is_site else thing.index
            if things[body]:
                bodies |= family(self._model, body)
        mask: NDArray[np.bool_] = bodies[self._model.geom_bodyid]
        return mask

    def _pending(self) -> Goal:
        # The last goal needs no look: it is shown whether it holds or not.
        for goal in self._goals[:-1]:
            if not self._domain._eval_predicate(goal.predicate):
                return goal
        return self._goals[-1]

    def _pose(self, thing: Thing) -> Floats:
        if not thing.is_site:
            body = thing.index
            return np.concatenate([self._data.xpos[body], self._data.xquat[body]])
        matrix = self._data.site_xmat[thing.index].reshape(3, 3)
        return np.concatenate([self._data.site_xpos[thing.index], quaternion(matrix)])

    def _is_grasped(self, thing: Thing) -> bool:
        pairs = self._data.contact.geom
        one, other = pairs[:, 0], pairs[:, 1]
        touch = [
            (finger[one] & thing.geoms[other]) | (finger[other] & thing.geoms[one])
            for finger in self._fingers
        ]
        return all(bool(t.any()) for t in touch)

    def _goal(self, state: list[str]) -> Goal:
        return Goal(list(state), self._thing(state[1]), self._thing(state[-1]))

    def _thing(self, name: str) -> Thing:
        if name in self._domain.object_sites_dict:
            site = self._domain.sim.model.site_name2id(name)
            box = np.concatenate([np.zeros(3), self._model.site_size[site]])
            return Thing(site, True, box, np.zeros(self._model.ngeom, bool))
        body = self._domain.obj_body_id[name]
        geoms = collision_geoms(self._model, body)
        return Thing(body, False, collision_box(self._model, body, geoms), geoms)


def collision_geoms(model: Any, body: int) -> NDArray[np.bool_]:  # noqa: ANN401
    """Returns which geometries (ngeom,) of a body and the bodies on it can touch something."""
    solid = (model.geom_contype != 0) | (model.geom_conaffinity != 0)
    mask: NDArray[np.bool_] = family(model, body)[model.geom_bodyid] & solid
    return mask


def family(model: Any, body: int) -> NDArray[np.bool_]:  # noqa: ANN401
    """Returns which bodies (nbody,) are a body or on it."""
    inside = np.zeros(model.nbody, bool)
    inside[body] = True
    # Parents come before their children.
    for child in range(body + 1, model.nbody):
        inside[child] = inside[model.body_parentid[child]]
    return inside


def collision_box(model: Any, body: int, geoms: NDArray[np.bool_]) -> Floats:  # noqa: ANN401
    """Returns the box (6,) around geometries: centre, half extents (m), in the body's frame.

    Joints between the body and its children are taken at their zero position.
    """
    corners = [
        _in_ancestor(model, body, int(model.geom_bodyid[g]), _outline(model, int(g)))
        for g in np.flatnonzero(geoms)
    ]
    if not corners:
        return np.zeros(6)
    points = np.concatenate(corners)
    low, high = points.min(axis=0), points.max(axis=0)
    return np.concatenate([(low + high) / 2, (high - low) / 2])


def quaternion(matrix: Floats) -> Floats:
    """Returns the unit quaternion (w, x, y, z), w >= 0, of a rotation matrix (3, 3)."""
    unit = np.empty(4)
    mujoco.mju_mat2Quat(unit, matrix.ravel())
    return unit if unit[0] >= 0 else -unit


def _named_geoms(domain: Domain, names: list[str]) -> NDArray[np.bool_]:
    model = domain.sim.model
    mask = np.zeros(model._model.ngeom, bool)
    mask[[model.geom_name2id(name) for name in names]] = True
    return mask


def _outline(model: Any, geom: int) -> Floats:  # noqa: ANN401
    """Points (n, 3) in the geometry's body's frame whose box is the geometry's (m)."""
    mesh = int(model.geom_dataid[geom])
    if model.geom_type[geom] == mujoco.mjtGeom.mjGEOM_MESH:
        start = int(model.mesh_vertadr[mesh])
        points = model.mesh_vert[start : start + int(model.mesh_vertnum[mesh])]
    else:
        centre, half = model.geom_aabb[geom, :3], model.geom_aabb[geom, 3:]
        signs = np.stack(np.meshgrid(*[[-1.0, 1.0]] * 3), axis=-1).reshape(-1, 3)
        points = centre + signs * half
    placed: Floats = points @ rotation(model.geom_quat[geom]).T + model.geom_pos[geom]
    return placed


def _in_ancestor(model: Any, ancestor: int, body: int, points: Floats) -> Floats:  # noqa: ANN401
    while body != ancestor:
        points = points @ rotation(model.body_quat[body]).T + model.body_pos[body]
        body = int(model.body_parentid[body])
    return points


def rotation(quat: Floats) -> Floats:
    """Returns the rotation matrix (3, 3) of a unit quaternion (w, x, y, z)."""
    matrix = np.empty(9)
    mujoco.mju_quat2Mat(matrix, quat)
    return matrix.reshape(3, 3)
