"""The shell of an apartment: floor, walls, ceiling, skirting, cupboards, window, pictures."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from vla_bench.suites.ms_hab.mini import counter, textures
from vla_bench.suites.ms_hab.mini.apartments import CEILING, Apartment, Place
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
    soft_box,
)
from vla_bench.suites.ms_hab.mini.paint import enlarged, rng_of, shaded

LAMPS = ((-0.5, -1.44, 2.3), (2.4, -1.6, 2.3))
"""Where the loader puts its point lights inside the rooms, world, metres."""
_THICK = 0.2
_PIXELS = 110
"""Floor pixels per metre."""
_TRIM = Material("trim", (0.95, 0.94, 0.91), roughness=0.6)
_DARK = Material("dark", (0.16, 0.15, 0.15), roughness=0.6)


def stage_model(home: Apartment) -> Model:
    """The shell in the world frame (z up)."""
    model = [*_floor_and_ceiling(home), *_walls(home), *_decor(home)]
    turn = rotation_z(home.room.yaw)
    shell = [moved(mesh, (*home.center, 0.0), turn) for mesh in model]
    return [*shell, *_cupboards(home), *_lamps()]


def _floor_and_ceiling(home: Apartment) -> Model:
    u, v = home.half
    paint = textures.floor(home.index, (2 * u, 2 * v), _PIXELS)
    shade = enlarged(_floor_shade(home), paint.shape[:2])
    floor = Material("floor", roughness=0.5, texture=shaded(paint, shade))
    plain = Material("ground", (0.3, 0.3, 0.3))
    ceiling = Material("ceiling", (0.97, 0.97, 0.95), roughness=1.0, glow=0.25)
    return [
        quad((0, 0, 0), np.array([u, 0.0, 0.0]), np.array([0.0, -v, 0.0]), floor),
        box((2 * u + 0.4, 2 * v + 0.4, 0.1), (0, 0, -0.0502), plain),
        box((2 * u + 0.4, 2 * v + 0.4, 0.1), (0, 0, CEILING + 0.05), ceiling),
    ]


def _floor_shade(home: Apartment, size: int = 96) -> Array:
    """(size, size) brightness of the floor: darker below furniture and along the walls."""
    u, v = home.half
    grid_v, grid_u = np.meshgrid(np.linspace(v, -v, size), np.linspace(-u, u, size), indexing="ij")
    points = home.room.world(np.column_stack([grid_u.ravel(), grid_v.ravel()]))
    shade = np.ones(len(points))
    for block in home.blocks:
        if block.low > 1.0:
            continue
        gap = np.abs(block.place.local(points)) - np.array(block.half[:2])
        distance = np.hypot(*np.maximum(gap, 0).T)
        depth, reach = (0.42, 0.10) if block.low < 0.3 else (0.25, 0.30)
        shade *= 1 - depth * np.exp(-((distance / reach) ** 2))
    return shade.reshape(size, size)


def _sides(home: Apartment) -> Iterator[tuple[float, Place]]:
    """Half length of each wall and a frame at its middle whose +y points into the room."""
    u, v = home.half
    yield u, Place(0.0, v, np.pi)
    yield u, Place(0.0, -v, 0.0)
    yield v, Place(u, 0.0, np.pi / 2)
    yield v, Place(-u, 0.0, -np.pi / 2)


def _walls(home: Apartment) -> Model:
    model: Model = []
    for number, (half, side) in enumerate(_sides(home)):
        paint = Material(
            f"wall{number}",
            roughness=0.95,
            texture=textures.wall(home.index, number, 2 * half, CEILING),
        )
        right, down = np.array([-half, 0.0, 0.0]), np.array([0.0, 0.0, -CEILING / 2])
        parts = [
            quad((0, 0, CEILING / 2), right, down, paint),
            box((2 * half + 0.4, _THICK, CEILING), (0, -_THICK / 2 - 0.002, CEILING / 2), _DARK),
            box((2 * half, 0.014, 0.09), (0, 0.007, 0.045), _TRIM),
        ]
        model += [_on(side, part) for part in parts]
    return model


def _on(side: Place, mesh: Mesh) -> Mesh:
    return moved(mesh, (side.x, side.y, side.z), rotation_z(side.yaw))


def _decor(home: Apartment) -> Model:
    """A window behind the table, a clock in the kitchen, pictures on the side walls."""
    rng = rng_of("decor", home.scene)
    sides = [side for _, side in _sides(home)]
    model = [_on(sides[1], mesh) for mesh in _window(home.index, float(rng.uniform(-0.5, 0.5)))]
    for number, side in ((2, sides[2]), (3, sides[3])):
        at = float(rng.uniform(-0.2, 0.2)) + (0.55 if number == 2 else -0.55)
        for k in range(int(rng.integers(1, 4))):
            size = (float(rng.uniform(0.34, 0.52)), float(rng.uniform(0.34, 0.52)))
            frame = _picture(10 * home.index + 3 * number + k, size)
            model += [_on(side, moved(mesh, (at + (k - 1) * 0.62, 0.0, 1.62))) for mesh in frame]
    wide = 0.9 * home.half[0]
    return [*model, *(_on(sides[0], mesh) for mesh in _clock(home.index, wide))]


def _window(number: int, at: float) -> Model:
    sky = Material("sky", texture=textures.window_view(number), glow=0.85)
    wood = _TRIM
    model: Model = [
        quad((at, 0.012, 1.62), np.array([-0.62, 0, 0.0]), np.array([0, 0, -0.48]), sky)
    ]
    for x in (-0.64, 0.0, 0.64):
        model.append(box((0.05 if x else 0.035, 0.05, 1.04), (at + x, 0.025, 1.62), wood))
    for z in (1.12, 2.12):
        model.append(box((1.33, 0.05, 0.05), (at, 0.025, z), wood))
    cloth = Material("curtain", textures.ACCENTS[number % len(textures.ACCENTS)], roughness=1.0)
    for sign in (-1, 1):
        folds = [
            cylinder(0.035, 1.45, (at + sign * (0.72 + 0.055 * k), 0.06, 1.52), cloth, 10)
            for k in range(4)
        ]
        model += folds
    model.append(box((2.0, 0.03, 0.03), (at, 0.07, 2.26), _DARK))
    return model


def _picture(number: int, size: tuple[float, float]) -> Model:
    width, height = size
    art = Material(f"art{number}", roughness=0.8, texture=textures.painting(number), glow=0.25)
    frame = _DARK if number % 2 else Material("frame", (0.76, 0.60, 0.38), roughness=0.6)
    return [
        box((width + 0.05, 0.022, height + 0.05), (0, 0.011, 0), frame),
        quad((0, 0.0235, 0), np.array([-width / 2, 0, 0.0]), np.array([0, 0, -height / 2]), art),
    ]


def _clock(number: int, at: float) -> Model:
    """A round clock near one end of the kitchen wall."""
    rim = Material("rim", textures.ACCENTS[(number + 2) % len(textures.ACCENTS)], roughness=0.5)
    face = Material("face", (0.97, 0.96, 0.92), glow=0.25)
    flat = np.array([[1.0, 0, 0], [0, 0, 1.0], [0, -1.0, 0]])
    model = [
        moved(cylinder(0.15, 0.03, (0, 0, 0), rim, 32), (at, 0.015, 2.1), flat),
        moved(cylinder(0.13, 0.034, (0, 0, 0), face, 32), (at, 0.017, 2.1), flat),
    ]
    model.append(box((0.012, 0.006, 0.09), (at, 0.036, 2.14), _DARK))
    model.append(box((0.07, 0.006, 0.012), (at + 0.03, 0.036, 2.1), _DARK))
    return model


def _cupboards(home: Apartment) -> Model:
    """Wall cupboards and a tiled splashback above the counter."""
    shade = textures.CUPBOARDS[home.index % len(textures.CUPBOARDS)]
    paint = Material("cupboard", shade, roughness=0.6)
    tiles = Material("tiles", roughness=0.3, texture=textures.splashback(home.index))
    width = counter.WIDTH / 4
    model: Model = [box((0.31, counter.WIDTH, 0.70), (-0.155, 0, 1.85), paint)]
    for k in range(4):
        y = (k - 1.5) * width
        model.append(soft_box((0.02, width - 0.008, 0.69), (0.01, y, 1.85), 0.006, paint))
        knob = width / 2 - 0.05
        model.append(
            box((0.015, 0.012, 0.12), (0.03, y + (knob if k % 2 == 0 else -knob), 1.62), _DARK)
        )
    low, high = counter.HEIGHT, 1.50
    right, down = np.array([0, counter.WIDTH / 2, 0]), np.array([0, 0, -(high - low) / 2])
    model.append(quad((-counter.DEPTH / 2 - 0.004, 0, (low + high) / 2), right, down, tiles))
    place = home.counter
    return [moved(mesh, (place.x, place.y, 0.0), rotation_z(place.yaw)) for mesh in model]


def _lamps() -> Model:
    """Pendant lamps where the light comes from."""
    shade = Material("pendant", (1.0, 0.95, 0.82), glow=0.9)
    globe = [(0.15 * np.sin(t), -0.15 * np.cos(t)) for t in np.linspace(0.02, np.pi - 0.02, 14)]
    model: Model = []
    for x, y, z in LAMPS:
        model.append(moved(lathe(globe, shade, 24), (x, y, z + 0.02)))
        model.append(
            cylinder(0.008, CEILING - z - 0.15, (x, y, (CEILING + z + 0.15) / 2), _DARK, 8)
        )
    return model
