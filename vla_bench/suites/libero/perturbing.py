"""What MuJoCo does for perturbations: pushes, and looks that can be put back."""

from __future__ import annotations

from typing import Any

import mujoco
import numpy as np
from numpy.typing import NDArray

from vla_bench.perturbations.changes import Backdrop, CameraShift, Light, Vector

LOOKS = (
    "cam_pos",
    "cam_quat",
    "light_pos",
    "light_ambient",
    "light_diffuse",
    "light_specular",
    "geom_rgba",
    "mat_rgba",
)
"""Fields of a model that perturbations change; no state depends on them."""
LookChange = CameraShift | Light | Backdrop
HEADLIGHT = ("ambient", "diffuse", "specular")
KNOB = 0.02
"""m: radius of what turns about its own middle."""


class Looks:
    """How a model looks: what can be changed of it, and what it was.

    Args:
        domain: LIBERO's environment, as built.
    """

    def __init__(self, domain: Any) -> None:  # noqa: ANN401
        self._domain = domain
        self._model = model = domain.sim.model._model
        fields = [getattr(model, name) for name in LOOKS]
        fields += [getattr(model.vis.headlight, name) for name in HEADLIGHT]
        self._kept = [(field, field.copy()) for field in fields]

    def restore(self) -> None:
        """Puts everything back, to the bit."""
        for field, before in self._kept:
            np.copyto(field, before)

    def change(self, change: LookChange) -> None:
        """Changes what is asked for."""
        match change:
            case CameraShift():
                self._shift(change)
            case Light():
                self._relight(change)
            case Backdrop():
                self._tint(change.colour)

    def _shift(self, shift: CameraShift) -> None:
        """Moves a camera on what it is mounted on."""
        camera = self._domain.sim.model.camera_name2id(shift.camera)
        position, orientation = self._model.cam_pos[camera], self._model.cam_quat[camera]
        moved, turn = np.empty(3), np.empty(4)
        mujoco.mju_rotVecQuat(moved, shift.offset, orientation)
        position += moved
        angle = float(np.linalg.norm(shift.rotation))
        mujoco.mju_axisAngle2Quat(turn, shift.rotation / angle, angle)
        mujoco.mju_mulQuat(orientation, orientation.copy(), turn)

    def _relight(self, light: Light) -> None:
        """Changes the colour of all light, and moves every lamp; the headlight moves with the camera."""
        model = self._model
        for colours in (model.light_ambient, model.light_diffuse, model.light_specular):
            colours *= light.colour
        for name in HEADLIGHT:
            colour = getattr(model.vis.headlight, name)
            colour *= light.colour
        model.light_pos += light.offset

    def _tint(self, colour: Vector) -> None:
        """Tints the arena: its bodies' materials, or colours where they have none."""
        model, arena = self._model, self._domain.model.mujoco_arena.worldbody
        names = [body.get("name") for body in arena.findall(".//body")]
        geoms = np.isin(model.geom_bodyid, [0, *map(self._domain.sim.model.body_name2id, names)])
        materials = model.geom_matid[geoms]
        model.mat_rgba[np.unique(materials[materials >= 0]), :3] *= colour
        model.geom_rgba[geoms & (model.geom_matid < 0), :3] *= colour


def push(model: Any, data: Any, body: int, velocity: Vector) -> None:  # noqa: ANN401
    """Adds a velocity (m/s, world frame) to a body's; on a joint, what the joint lets through."""
    joint = _joint(model, body)
    speeds = data.qvel[model.jnt_dofadr[joint] :]
    if model.jnt_type[joint] == mujoco.mjtJoint.mjJNT_FREE:
        speeds[:3] += velocity
        return
    way: NDArray[np.float64] = data.xaxis[joint]
    if model.jnt_type[joint] == mujoco.mjtJoint.mjJNT_HINGE:
        way = np.cross(way, _lever(way, data.xipos[model.jnt_bodyid[joint]] - data.xanchor[joint]))
    speeds[0] += way @ velocity / (way @ way)


def _lever(axis: Vector, arm: Vector) -> Vector:
    """From a hinge to where it is pushed (m): the middle of a door, the rim of a knob."""
    lever: Vector = arm - (arm @ axis) * axis
    if np.linalg.norm(lever) < KNOB:
        sideways = np.eye(3)[np.argmin(np.abs(axis))]
        lever = sideways - (sideways @ axis) * axis
        lever *= KNOB / np.linalg.norm(lever)
    return lever


def _joint(model: Any, body: int) -> int:  # noqa: ANN401
    """The joint that moves a body; of a fixture that stands fast, the first that moves a part of it."""
    family = [body]
    while model.body_parentid[family[-1]]:
        family.append(int(model.body_parentid[family[-1]]))
    family += [b for b in range(body + 1, model.nbody) if body in _ancestors(model, b)]
    joints = [int(model.body_jntadr[b]) for b in family if model.body_jntnum[b]]
    return joints[0]


def _ancestors(model: Any, body: int) -> set[int]:  # noqa: ANN401
    found: set[int] = set()
    while body:
        body = int(model.body_parentid[body])
        found.add(body)
    return found
