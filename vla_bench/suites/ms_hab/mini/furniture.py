"""Loose furniture of the apartments: tables, seats, shelves, plants, lamps, rugs.

Model frame: z up, origin on the floor below the middle, the front faces +y.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache

import numpy as np

from vla_bench.suites.ms_hab.mini import textures
from vla_bench.suites.ms_hab.mini.meshes import (
    Material,
    Mesh,
    Model,
    Vec3,
    box,
    cylinder,
    lathe,
    moved,
    rotation_x,
    rotation_z,
    soft_box,
    tube,
)
from vla_bench.suites.ms_hab.mini.paint import rng_of

TABLE_SIZE: Vec3 = (1.40, 0.80, 0.75)
"""Length, depth and height of every dining table, metres."""


@dataclass(frozen=True, eq=False)
class Piece:
    """One model of furniture.

    Attributes:
        looks: textured meshes, model frame.
        blocks: (half extents, centre) of boxes that cover it, for keeping robots away, metres.
        dynamic: it can be pushed about; False for what is fixed.
    """

    looks: Model
    blocks: list[tuple[Vec3, Vec3]] = field(default_factory=list)
    dynamic: bool = False


_WOODS: list[Vec3] = [
    (0.50, 0.31, 0.17),
    (0.30, 0.17, 0.09),
    (0.72, 0.56, 0.38),
    (0.82, 0.80, 0.76),
]
_CLOTHS: list[Vec3] = [
    (0.20, 0.36, 0.44),
    (0.62, 0.30, 0.20),
    (0.36, 0.42, 0.27),
    (0.55, 0.52, 0.50),
]
_ACCENTS: list[Vec3] = [
    (0.85, 0.60, 0.18),
    (0.20, 0.45, 0.60),
    (0.75, 0.30, 0.28),
    (0.35, 0.55, 0.40),
]
_FRONTS: list[Vec3] = [
    (0.72, 0.51, 0.15),
    (0.17, 0.38, 0.51),
    (0.64, 0.26, 0.24),
    (0.30, 0.47, 0.34),
]


def _wood(variant: int) -> Material:
    return Material("wood", roughness=0.6, texture=textures.wood_grain(_WOODS[variant % 4]))


def _table(variant: int) -> Piece:
    length, depth, height = TABLE_SIZE
    wood = _wood(variant)
    boards = Material(
        "boards", roughness=0.5, texture=textures.wood_grain(_WOODS[variant % 4], boards=5)
    )
    top = soft_box((length, depth, 0.04), (0, 0, height - 0.02), 0.008, boards)
    legs = [(sx * (length / 2 - 0.06), sy * (depth / 2 - 0.06)) for sx in (-1, 1) for sy in (-1, 1)]
    looks: Model = [
        top,
        box((length - 0.16, 0.02, 0.07), (0, depth / 2 - 0.06, height - 0.075), wood),
    ]
    looks.append(box((length - 0.16, 0.02, 0.07), (0, -depth / 2 + 0.06, height - 0.075), wood))
    for x, y in legs:
        if variant % 2:
            looks.append(cylinder(0.028, height - 0.04, (x, y, (height - 0.04) / 2), wood, 16))
        else:
            looks.append(box((0.06, 0.06, height - 0.04), (x, y, (height - 0.04) / 2), wood))
    blocks: list[tuple[Vec3, Vec3]] = [((length / 2, depth / 2, 0.055), (0, 0, height - 0.055))]
    blocks += [((0.03, 0.03, height / 2), (x, y, height / 2)) for x, y in legs]
    return Piece(looks, blocks)


def _chair(variant: int) -> Piece:
    wood = _wood(variant + 1)
    cloth = Material("seat", _CLOTHS[variant % 4], roughness=0.9)
    looks: Model = [soft_box((0.42, 0.42, 0.05), (0, 0, 0.455), 0.015, cloth)]
    for x in (-0.18, 0.18):
        looks.append(box((0.035, 0.035, 0.43), (x, 0.18, 0.215), wood))
        looks.append(box((0.035, 0.035, 0.90), (x, -0.19, 0.45), wood))
    slats = (0.62, 0.72, 0.84) if variant % 2 else (0.80, 0.86)
    looks += [box((0.34, 0.02, 0.055), (0, -0.19, z), wood) for z in slats]
    return Piece(looks, [((0.21, 0.21, 0.46), (0, 0, 0.46))])


def _sofa(variant: int) -> Piece:
    cloth = Material("cloth", roughness=0.95, texture=textures.cloth(_CLOTHS[variant % 4]))
    accent = Material("cushion", _ACCENTS[variant % 4], roughness=0.95)
    feet = Material("feet", (0.12, 0.08, 0.05), roughness=0.7)
    looks: Model = [soft_box((1.80, 0.82, 0.30), (0, 0, 0.25), 0.04, cloth)]
    looks.append(soft_box((1.80, 0.22, 0.50), (0, -0.30, 0.60), 0.07, cloth))
    looks += [soft_box((0.20, 0.82, 0.46), (x, 0, 0.36), 0.07, cloth) for x in (-0.80, 0.80)]
    looks += [soft_box((0.68, 0.58, 0.14), (x, 0.09, 0.44), 0.05, cloth) for x in (-0.35, 0.35)]
    for x, turn in ((-0.48, 0.3), (0.50, -0.35)):
        pillow = soft_box((0.38, 0.12, 0.36), (0, 0, 0), 0.055, accent)
        looks.append(moved(pillow, (x, -0.10, 0.68), rotation_z(turn) @ rotation_x(-0.25)))
    looks += [
        box((0.06, 0.06, 0.10), (x, y, 0.05), feet) for x in (-0.82, 0.82) for y in (-0.34, 0.34)
    ]
    return Piece(looks, [((0.90, 0.41, 0.44), (0, 0, 0.44))])


def _shelf(variant: int) -> Piece:
    wood = _wood(variant + 2)
    width, depth, height = 0.90, 0.30, 1.70
    looks: Model = [
        box((0.025, depth, height), (x, 0, height / 2), wood) for x in (-width / 2, width / 2)
    ]
    looks.append(box((width, 0.012, height), (0, -depth / 2 + 0.006, height / 2), wood))
    levels = [0.04, 0.44, 0.86, 1.28, height - 0.012]
    looks += [box((width, depth, 0.025), (0, 0, z), wood) for z in levels]
    rng = rng_of("shelf", variant)
    for level in levels[:-1]:
        looks += _books(rng, level + 0.0125, width)
    return Piece(looks, [((width / 2, depth / 2, height / 2), (0, 0, height / 2))])


def _books(rng: np.random.Generator, floor: float, width: float) -> Model:
    looks: Model = []
    colors = [*_ACCENTS, (0.15, 0.16, 0.22), (0.86, 0.83, 0.75), (0.45, 0.12, 0.14)]
    x = -width / 2 + 0.03
    end = width / 2 - float(rng.uniform(0.05, 0.35))
    while x < end:
        thick, tall = float(rng.uniform(0.02, 0.05)), float(rng.uniform(0.19, 0.30))
        k = int(rng.integers(len(colors)))
        book = Material(f"book{k}", colors[k], roughness=0.8)
        looks.append(
            box((thick - 0.003, 0.18, tall), (x + thick / 2, -0.02, floor + tall / 2), book)
        )
        x += thick + (float(rng.uniform(0.08, 0.20)) if rng.uniform() < 0.12 else 0.0)
    return looks


def _sideboard(variant: int) -> Piece:
    wood = _wood(variant + 1)
    brass = Material("knob", (0.75, 0.58, 0.28), roughness=0.4, metallic=0.15)
    looks: Model = [soft_box((1.30, 0.42, 0.55), (0, 0, 0.40), 0.01, wood)]
    door = Material("front", _FRONTS[variant % 4], roughness=0.7)
    for k in range(3):
        x = -0.42 + 0.42 * k
        looks.append(soft_box((0.40, 0.02, 0.49), (x, 0.215, 0.40), 0.005, door))
        looks.append(box((0.02, 0.02, 0.08), (x + 0.15, 0.235, 0.45), brass))
    looks += [
        box((0.05, 0.05, 0.13), (x, y, 0.065), wood) for x in (-0.58, 0.58) for y in (-0.15, 0.15)
    ]
    screen = Material("screen", (0.015, 0.018, 0.025), roughness=0.15)
    looks.append(soft_box((1.05, 0.04, 0.60), (0, -0.05, 1.02), 0.008, screen))
    looks.append(box((0.40, 0.18, 0.05), (0, -0.05, 0.70), screen))
    return Piece(looks, [((0.66, 0.24, 0.67), (0, 0, 0.67))])


def _plant(variant: int) -> Piece:
    pot_color = [(0.70, 0.36, 0.22), (0.90, 0.88, 0.84), (0.22, 0.30, 0.34), (0.80, 0.66, 0.30)][
        variant % 4
    ]
    pot = Material("pot", pot_color, roughness=0.8)
    soil = Material("soil", (0.08, 0.05, 0.03), roughness=1.0)
    leaf = Material(
        "leaf", (0.12, 0.36, 0.12) if variant % 2 else (0.20, 0.45, 0.15), roughness=0.6
    )
    profile = [(1e-4, 0.0), (0.13, 0.0), (0.18, 0.30), (0.165, 0.30), (0.155, 0.27), (1e-4, 0.27)]
    looks: Model = [
        lathe(profile, pot, 24, sharp=True),
        cylinder(0.155, 0.01, (0, 0, 0.27), soil, 20),
    ]
    rng = rng_of("plant", variant)
    for k in range(16):
        looks.append(_frond(rng, leaf, 2.4 * k, float(rng.uniform(0.45, 0.95))))
    return Piece(looks, [((0.30, 0.30, 0.6), (0, 0, 0.6))])


def _frond(rng: np.random.Generator, leaf: Material, angle: float, length: float) -> Mesh:
    t = np.linspace(0, 1, 7)
    spread = float(rng.uniform(0.15, 0.34))
    path = np.column_stack([spread * t**1.6, 0 * t, 0.27 + length * t - 0.22 * length * t**3])
    width = 0.004 + 0.035 * np.sin(np.pi * t) ** 1.2
    blade = tube(path, width, leaf, 6)
    return moved(blade, rotation=rotation_z(angle))


def _lamp(variant: int) -> Piece:
    metal = Material(
        "metal",
        (0.10, 0.10, 0.11) if variant % 2 else (0.72, 0.56, 0.30),
        roughness=0.4,
        metallic=0.15,
    )
    shade = Material("shade", (0.98, 0.90, 0.72), roughness=0.9)
    looks: Model = [
        cylinder(0.15, 0.025, (0, 0, 0.0125), metal),
        cylinder(0.012, 1.40, (0, 0, 0.72), metal, 12),
    ]
    profile = [(0.19, 1.38), (0.14, 1.66), (0.135, 1.66), (0.185, 1.38)]
    looks.append(lathe(profile, shade, 28, sharp=True))
    return Piece(looks, [((0.19, 0.19, 0.84), (0, 0, 0.84))])


def _rug(variant: int) -> Piece:
    weave = Material("weave", roughness=1.0, texture=textures.rug(variant))
    return Piece([box((1.80, 1.20, 0.008), (0, 0, 0.004), weave)])


def _crate(variant: int) -> Piece:
    """A storage box: the one thing in the rooms that can be pushed about, far from the tasks."""
    paint = Material("crate", _ACCENTS[(variant + 1) % 4], roughness=0.8)
    lid = Material("lid", (0.90, 0.86, 0.78), roughness=0.8)
    looks: Model = [
        box((0.30, 0.22, 0.18), (0, 0, 0.09), paint),
        box((0.31, 0.23, 0.03), (0, 0, 0.195), lid),
    ]
    return Piece(looks, [((0.16, 0.12, 0.11), (0, 0, 0.105))], dynamic=True)


_MAKERS: dict[str, Callable[[int], Piece]] = {
    "dining_table": _table,
    "chair": _chair,
    "sofa": _sofa,
    "bookshelf": _shelf,
    "sideboard": _sideboard,
    "plant": _plant,
    "floor_lamp": _lamp,
    "rug": _rug,
    "crate": _crate,
}
VARIANTS = 4
KINDS = tuple(_MAKERS)


@cache
def piece(kind: str, variant: int) -> Piece:
    """The model of a kind of furniture in one of `VARIANTS` finishes."""
    return _MAKERS[kind](variant)
