"""Models that stand in for YCB objects: their looks and the convex pieces they collide with.

Model frame: z up, origin at the middle of the object's bounding box when it stands as it rests.
"""

from __future__ import annotations

import pathlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt
import trimesh

from vla_bench.suites.ms_hab.mini import object_textures as textures
from vla_bench.suites.ms_hab.mini.files import write_json, write_obj, write_ply
from vla_bench.suites.ms_hab.mini.meshes import (
    Array,
    Material,
    Mesh,
    Model,
    box,
    cylinder,
    lathe,
    moved,
    quad,
    rotation_z,
    tube,
)

Piece = tuple[Array, npt.NDArray[np.int64]]

APPLE, BOWL = "013_apple", "024_bowl"
CAN, CRACKERS, BANANA, MUG = "005_tomato_soup_can", "003_cracker_box", "011_banana", "025_mug"
CLUTTER = (CAN, CRACKERS, BANANA, MUG)

APPLE_RADIUS, APPLE_HALF_HEIGHT = 0.036, 0.033
BOWL_RADIUS, BOWL_HEIGHT, BOWL_WALL = 0.078, 0.055, 0.006
BOWL_SEGMENTS = 16
BOWL_SLOPE = 0.082
"""Outward lean of the wall below the rim, rad."""


@dataclass(frozen=True, eq=False)
class Thing:
    """One object.

    Attributes:
        looks: textured meshes, model frame.
        pieces: convex collision pieces, model frame.
        mass: kg.
        footprint: radius of a circle around its resting footprint, metres.
        half_height: resting height of the origin above the surface, metres.
    """

    looks: Model
    pieces: list[Piece]
    mass: float
    footprint: float
    half_height: float

    @property
    def volume(self) -> float:
        """Sum of the pieces' volumes, cubic metres."""
        return float(sum(trimesh.Trimesh(*piece, process=False).volume for piece in self.pieces))


def _hull(points: Array) -> Piece:
    hull = trimesh.convex.convex_hull(np.round(points, 6))
    return np.asarray(hull.vertices, dtype=np.float64), np.asarray(hull.faces, dtype=np.int64)


def _cylinder_points(radius: float, low: float, high: float, segments: int = 20) -> Array:
    angle = np.arange(segments) * 2 * np.pi / segments
    ring = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
    return np.concatenate([np.column_stack([ring, np.full(segments, z)]) for z in (low, high)])


def _apple_profile() -> list[tuple[float, float]]:
    """(radius, height) of the skin from the flat below, over the shoulder, into the dimple."""
    angle = np.linspace(-np.pi / 2, np.pi / 2, 25)
    radius = APPLE_RADIUS * np.cos(angle) ** 0.72
    height = APPLE_HALF_HEIGHT * np.sin(angle)
    lean = 1 + 0.07 * np.sin(angle)
    dimple = 0.011 * np.exp(-((radius / 0.011) ** 2)) * (angle > 0)
    hollow = 0.004 * np.exp(-((radius / 0.010) ** 2)) * (angle < 0)
    points = np.column_stack([np.maximum(radius * lean / 1.03, 1e-4), height - dimple + hollow])
    return [(float(r), float(z)) for r, z in points]


def _apple() -> Thing:
    profile = _apple_profile()
    skin = Material("skin", roughness=0.35, texture=textures.apple_skin(), glow=0.06)
    bark = Material("stem", (0.20, 0.11, 0.05), roughness=0.9)
    leaf = Material("leaf", (0.16, 0.42, 0.08), roughness=0.7)
    height = np.linspace(0.018, 0.040, 6)
    stem = tube(
        np.column_stack([0.25 * (height - 0.018), 0 * height, height]), np.full(6, 0.0016), bark, 8
    )
    blade = moved(lathe(_leaf_profile(), leaf, 8), (0.006, 0.0, 0.037), _lying())
    looks = [lathe(profile, skin, 40), stem, blade]
    rows = np.array(profile)[2:-3:3]
    angle = np.arange(12) * 2 * np.pi / 12
    rings = [
        np.column_stack([r * np.cos(angle), r * np.sin(angle), np.full(12, z)]) for r, z in rows
    ]
    base = _cylinder_points(0.016, -APPLE_HALF_HEIGHT, -APPLE_HALF_HEIGHT + 0.004, 12)
    return Thing(
        looks, [_hull(np.concatenate([*rings, base]))], 0.15, APPLE_RADIUS, APPLE_HALF_HEIGHT
    )


def _leaf_profile() -> list[tuple[float, float]]:
    return [(1e-4, 0.0), (0.003, 0.004), (0.0045, 0.009), (0.003, 0.015), (1e-4, 0.020)]


def _lying() -> Array:
    """A leaf's frame: long and flat, a little raised."""
    return np.array([[0.15, 0.0, 0.95], [0.0, 1.0, 0.0], [-0.15, 0.0, 0.25]])


def _bowl_profile() -> tuple[Array, Array]:
    """Outer and inner (radius, height) points, from the foot to the rim."""
    outer = np.array(
        [[0.042, -0.0275], [0.061, -0.0175], [0.0755, -0.003], [0.0772, 0.012], [0.078, 0.0275]]
    )
    inner = np.array(
        [[0.040, -0.0215], [0.0565, -0.0125], [0.0695, 0.000], [0.0712, 0.013], [0.072, 0.0275]]
    )
    return outer, inner


def _bowl() -> Thing:
    outer, inner = _bowl_profile()
    glaze = Material("glaze", roughness=0.3, texture=textures.bowl_outside())
    bottom = Material("inside", roughness=0.35, texture=textures.bowl_inside())
    skin = np.concatenate([[[1e-4, -0.0275]], outer, [[0.0765, 0.0282], [0.0735, 0.0282]]])
    lining = np.concatenate([inner[::-1], [[1e-4, -0.0215]]])
    looks = [
        lathe([(float(r), float(z)) for r, z in skin], glaze, 48),
        lathe([(float(r), float(z)) for r, z in lining], bottom, 48),
    ]
    return Thing(looks, _bowl_pieces(outer, inner), 0.15, BOWL_RADIUS, BOWL_HEIGHT / 2)


def _bowl_pieces(outer: Array, inner: Array) -> list[Piece]:
    """The foot's disc, and a lower and an upper ring of wedges that make the wall."""
    pieces = [_hull(_cylinder_points(0.045, -0.0275, -0.0205, 16))]
    step = 2 * np.pi / BOWL_SEGMENTS
    for low, high in ((0, 2), (2, 4)):
        for k in range(BOWL_SEGMENTS):
            angle = np.array([k * step, (k + 1) * step])
            rows = np.concatenate(
                [outer[low : high + 1 : high - low], inner[low : high + 1 : high - low]]
            )
            points = [[r * np.cos(a), r * np.sin(a), z] for a in angle for r, z in rows]
            pieces.append(_hull(np.array(points)))
    return pieces


def _can() -> Thing:
    label = Material("label", roughness=0.5, texture=textures.soup_label())
    tin = Material("tin", (0.70, 0.71, 0.73), roughness=0.3, metallic=0.15)
    side = lathe([(0.0335, -0.047), (0.0335, 0.047)], label, 36)
    looks = [side, cylinder(0.0325, 0.101, (0, 0, 0), tin, 36)]
    return Thing(looks, [_hull(_cylinder_points(0.0335, -0.0505, 0.0505))], 0.35, 0.034, 0.0505)


def _crackers() -> Thing:
    size = np.array([0.06, 0.158, 0.21])
    front = Material("front", roughness=0.6, texture=textures.cracker_front())
    card = Material("card", (0.62, 0.06, 0.05), roughness=0.6)
    looks: Model = [box(size, (0, 0, 0), card)]
    for sign in (-1, 1):
        looks.append(moved(_front_face(front), rotation=rotation_z(0 if sign > 0 else np.pi)))
    corners = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)]) * size / 2
    return Thing(looks, [_hull(corners)], 0.41, 0.085, 0.105)


def _front_face(material: Material) -> Mesh:
    return quad((0.0305, 0, 0), np.array([0.0, 0.079, 0.0]), np.array([0.0, 0.0, -0.105]), material)


def _banana() -> Thing:
    turn = np.linspace(-0.85, 0.85, 25)
    path = np.column_stack([0.10 * np.sin(turn), 0.10 * (np.cos(turn) - 0.83), np.zeros_like(turn)])
    radius = 0.018 * np.clip(1.12 - np.abs(turn / 0.85) ** 6 * 1.1, 0.05, 1.0)
    peel = Material("peel", roughness=0.6, texture=textures.banana_peel())
    looks = [tube(path, radius, peel, 10)]
    pieces = []
    for part in (slice(1, 9), slice(8, 17), slice(16, 24)):
        ring = [
            path[i] + radius[i] * d
            for i in range(*part.indices(25))[::2]
            for d in _octagon(turn[i])
        ]
        pieces.append(_hull(np.array(ring)))
    return Thing(looks, pieces, 0.07, 0.10, 0.018)


def _octagon(turn: float) -> Array:
    """Eight directions across the banana at `turn` radians along its arc."""
    angle = np.arange(8) * np.pi / 4
    outward = np.array([np.sin(turn), np.cos(turn), 0.0])
    across: Array = np.outer(np.cos(angle), outward) + np.outer(np.sin(angle), [0.0, 0.0, 1.0])
    return across


def _mug() -> Thing:
    glaze = Material("mug", roughness=0.3, texture=textures.mug_glaze())
    inside = Material("mug_inside", (0.92, 0.90, 0.85), roughness=0.4)
    wall = [(1e-4, -0.041), (0.038, -0.041), (0.0405, -0.036), (0.0405, 0.041), (0.037, 0.041)]
    lining = [(0.037, 0.041), (0.036, -0.034), (1e-4, -0.034)]
    turn = np.linspace(-1.35, 1.35, 15)
    path = np.column_stack([0.036 + 0.031 * np.cos(turn), 0 * turn, 0.027 * np.sin(turn)])
    handle = tube(path, np.full(15, 0.0055), glaze, 10)
    looks = [lathe(wall, glaze, 36, sharp=True), lathe(lining, inside, 36, sharp=True), handle]
    grip = np.array(
        [[x, y, z] for x in (0.038, 0.072) for y in (-0.005, 0.005) for z in (-0.026, 0.026)]
    )
    pieces = [_hull(_cylinder_points(0.0405, -0.041, 0.041)), _hull(grip)]
    return Thing(looks, pieces, 0.12, 0.075, 0.041)


_MAKERS: dict[str, Callable[[], Thing]] = {
    APPLE: _apple,
    BOWL: _bowl,
    CAN: _can,
    CRACKERS: _crackers,
    BANANA: _banana,
    MUG: _mug,
}


@cache
def thing(name: str) -> Thing:
    """The model of a YCB id, such as "013_apple"."""
    return _MAKERS[name]()


def write_ycb(folder: pathlib.Path) -> None:
    """Write every model and `info_pick_v0.json` in the layout of ManiSkill's YCB download.

    Args:
        folder: the `mani_skill2_ycb` folder.
    """
    info = {}
    for name in sorted(_MAKERS):
        made = thing(name)
        write_obj(folder / "models" / name, "textured", made.looks)
        write_ply(folder / "models" / name / "collision.ply", made.pieces)
        points = np.concatenate([vertices for vertices, _ in made.pieces])
        bounds = {"min": points.min(axis=0), "max": points.max(axis=0)}
        info[name] = {"bbox": bounds, "density": made.mass / made.volume, "scales": [1.0]}
    write_json(folder / "info_pick_v0.json", info)
