"""Surfaces of the rooms: floors, walls, cloth, wood, rugs, what hangs on the walls."""

from __future__ import annotations

import numpy as np

from vla_bench.suites.ms_hab.mini.meshes import Image, Vec3
from vla_bench.suites.ms_hab.mini.paint import finished, mixed, rng_of, smooth_noise


def wood_grain(color: Vec3, boards: int = 1, size: int = 192) -> Image:
    """Wood of one or more boards, grain along the image's rows."""
    rng = rng_of("grain", color, boards)
    grain = smooth_noise(rng, size, size, (size // 3, 4)) * 0.7 + smooth_noise(
        rng, size, size, (size // 12, 3)
    )
    row = np.arange(size) * boards // size
    tone = rng.uniform(0.90, 1.06, boards)[row][:, None]
    paint = np.asarray(color) * (tone * (1 + 0.10 * grain))[..., None]
    paint[1:][np.diff(row) > 0] *= 0.75
    return finished(paint)


def cloth(color: Vec3, size: int = 64) -> Image:
    """Woven cloth."""
    rng = rng_of("cloth", color)
    weave = rng.normal(0, 0.05, (size, size)) + 0.05 * smooth_noise(rng, size, size, (6, 6))
    return finished(np.asarray(color) * (1 + weave[..., None]))


_RUGS: list[tuple[Vec3, Vec3, Vec3]] = [
    ((0.58, 0.20, 0.16), (0.90, 0.82, 0.66), (0.16, 0.20, 0.32)),
    ((0.22, 0.38, 0.45), (0.88, 0.86, 0.80), (0.80, 0.55, 0.22)),
    ((0.78, 0.74, 0.66), (0.40, 0.34, 0.30), (0.62, 0.30, 0.22)),
    ((0.35, 0.42, 0.30), (0.90, 0.86, 0.72), (0.20, 0.22, 0.18)),
]


def rug(variant: int) -> Image:
    """A rug with a border and a pattern of diamonds."""
    ground, light, dark = _RUGS[variant % 4]
    height, width = 128, 192
    y, x = np.mgrid[0:height, 0:width]
    edge = np.minimum(np.minimum(x, width - 1 - x), np.minimum(y, height - 1 - y))
    paint = np.ones((height, width, 3)) * np.asarray(ground)
    period = (24, 32)[variant % 2]
    diamond = np.abs((x % period) - period / 2) + np.abs((y % period) - period / 2)
    paint[diamond < period * 0.30] = light
    paint[diamond < period * 0.15] = dark
    paint[edge < 14] = dark
    paint[edge < 11] = light
    paint[edge < 4] = ground
    return finished(paint * (1 + rng_of("rug", variant).normal(0, 0.05, (height, width, 1))))


ACCENTS: list[Vec3] = [
    (0.90, 0.62, 0.22),
    (0.30, 0.55, 0.70),
    (0.82, 0.40, 0.34),
    (0.45, 0.62, 0.44),
    (0.62, 0.46, 0.66),
]

CUPBOARDS: list[Vec3] = [
    (0.93, 0.92, 0.88),
    (0.62, 0.74, 0.72),
    (0.90, 0.80, 0.66),
    (0.55, 0.62, 0.72),
    (0.84, 0.72, 0.70),
]

_WALLS: list[tuple[Vec3, Vec3]] = [
    ((0.95, 0.92, 0.84), (0.62, 0.74, 0.64)),
    ((0.86, 0.91, 0.94), (0.36, 0.52, 0.66)),
    ((0.96, 0.88, 0.78), (0.86, 0.58, 0.44)),
    ((0.92, 0.92, 0.90), (0.93, 0.78, 0.42)),
    ((0.90, 0.87, 0.93), (0.58, 0.50, 0.68)),
    ((0.90, 0.94, 0.86), (0.44, 0.58, 0.46)),
    ((0.97, 0.94, 0.90), (0.80, 0.48, 0.50)),
    ((0.93, 0.90, 0.86), (0.40, 0.56, 0.58)),
    ((0.98, 0.95, 0.86), (0.70, 0.62, 0.50)),
    ((0.88, 0.92, 0.90), (0.84, 0.66, 0.56)),
]
"""Main and accent paint of each apartment."""

_PLANKS: list[Vec3] = [
    (0.86, 0.68, 0.46),
    (0.70, 0.48, 0.32),
    (0.80, 0.75, 0.68),
    (0.93, 0.80, 0.60),
    (0.76, 0.56, 0.36),
]

_TILES: list[tuple[Vec3, Vec3]] = [
    ((0.82, 0.50, 0.36), (0.76, 0.44, 0.32)),
    ((0.90, 0.90, 0.88), (0.52, 0.60, 0.62)),
    ((0.84, 0.80, 0.72), (0.80, 0.75, 0.66)),
]


def floor(number: int, size: tuple[float, float], pixels: int) -> Image:
    """A floor of `size` metres (u, v), `pixels` per metre: planks, tiles or parquet."""
    width, height = (round(side * pixels) for side in size)
    rng = rng_of("floor", number)
    if number % 3 == 1:
        return _tiles(rng, height, width, pixels, _TILES[number // 3 % 3])
    return _planks(rng, height, width, pixels, _PLANKS[number % 5], basket=number % 4 == 3)


def _planks(
    rng: np.random.Generator, height: int, width: int, pixels: int, color: Vec3, basket: bool
) -> Image:
    y, x = np.mgrid[0:height, 0:width]
    board, length = int(0.13 * pixels), int(1.3 * pixels)
    if basket:
        block = 4 * board
        flip = ((y // block) + (x // block)) % 2 == 1
        y, x = np.where(flip, x, y), np.where(flip, y, x)
        length = block
    row = y // board
    shift = (
        np.zeros(int(row.max()) + 1, dtype=int)
        if basket
        else rng.integers(0, length, int(row.max()) + 1)
    )
    along = x + shift[row]
    tone = rng.uniform(0.84, 1.08, (int(row.max()) + 1, int(along.max()) // length + 1))[
        row, along // length
    ]
    grain = smooth_noise(rng, height, width, (height // 2, max(width // 40, 1)))
    paint = np.asarray(color) * (tone * (1 + 0.06 * grain))[..., None]
    seam = (y % board == 0) | (along % length == 0)
    paint[seam] *= 0.72
    return finished(paint)


def _tiles(
    rng: np.random.Generator, height: int, width: int, pixels: int, colors: tuple[Vec3, Vec3]
) -> Image:
    y, x = np.mgrid[0:height, 0:width]
    side = int(0.45 * pixels)
    row, column = y // side, x // side
    paint = np.where(
        ((row + column) % 2 == 0)[..., None], np.asarray(colors[0]), np.asarray(colors[1])
    )
    tone = rng.uniform(0.95, 1.04, (int(row.max()) + 1, int(column.max()) + 1))[row, column]
    mottle = smooth_noise(rng, height, width, (24, 24)) * 0.03
    paint = paint * (tone + mottle)[..., None]
    joint = (y % side < 2) | (x % side < 2)
    paint[joint] = np.asarray(colors[0]) * 0.70
    return finished(paint)


def wall(number: int, side: int, length: float, height: float) -> Image:
    """A painted wall, darker in its corners: plain, striped or with a coloured lower half."""
    main, accent = _WALLS[number % len(_WALLS)]
    rows, columns = int(height * 70), int(length * 70)
    y, x = np.mgrid[0:rows, 0:columns]
    paint = np.ones((rows, columns, 3)) * np.asarray(accent if side == 0 and number % 2 else main)
    style = (number + side) % 4
    if side > 0 and style == 1:
        paint[(x // 14) % 2 == 0] = np.asarray(main) * 0.94
    if style == 2:
        paint[y > rows * 0.62] = accent
        paint[abs(y - rows * 0.62) < 2.5] = (0.97, 0.96, 0.94)
    speckle = smooth_noise(rng_of("wall", number, side), rows, columns, (30, 60)) * 0.015
    edge = np.minimum(np.minimum(x, columns - x) / 70, np.minimum(y, rows - y) / 70)
    shade = 1 - 0.28 * np.exp(-edge / 0.16)
    return finished(paint * (shade + speckle)[..., None])


def splashback(number: int) -> Image:
    """Small glazed tiles above the worktop."""
    rng = rng_of("splashback", number)
    height, width, tile = 96, 340, 16
    y, x = np.mgrid[0:height, 0:width]
    row = y // tile
    column = (x + (row % 2) * tile) // (2 * tile)
    tone = rng.uniform(0.88, 1.05, (int(row.max()) + 1, int(column.max()) + 1))[row, column]
    base = _WALLS[(number + 3) % len(_WALLS)][1] if number % 2 else (0.93, 0.94, 0.92)
    paint = np.asarray(base) * tone[..., None]
    paint[(y % tile == 0) | ((x + (row % 2) * tile) % (2 * tile) == 0)] = (0.98, 0.98, 0.96)
    return finished(paint)


def window_view(number: int) -> Image:
    """What lies outside: sky, clouds, hills or roofs."""
    rng = rng_of("view", number)
    height, width = 96, 128
    y = np.linspace(0, 1, height)[:, None] * np.ones((1, width))
    paint = mixed((0.45, 0.68, 0.95), (0.88, 0.94, 1.0), y)
    cloud = np.clip(smooth_noise(rng, height, width, (7, 5)) * 1.6 - 0.2 - y, 0, 1)
    paint = paint * (1 - cloud[..., None]) + cloud[..., None]
    for depth, color in ((0.62, (0.48, 0.62, 0.56)), (0.76, (0.32, 0.52, 0.30))):
        line = (
            depth
            + 0.07 * smooth_noise(rng, 1, width, (1, 6))[0]
            + 0.02 * smooth_noise(rng, 1, width, (1, 30))[0]
        )
        paint[y > line[None]] = color
    if number % 2:
        for _ in range(6):
            left, wide, top = (
                int(rng.integers(0, 110)),
                int(rng.integers(10, 22)),
                int(rng.integers(44, 72)),
            )
            paint[top:, left : left + wide] = rng.uniform(0.45, 0.80, 3)
    return finished(paint)


def painting(number: int) -> Image:
    """A picture for the wall: stripes of landscape, circles or colour fields."""
    rng = rng_of("painting", number)
    size = 64
    y, x = np.mgrid[0:size, 0:size] / size
    palette = np.array(ACCENTS)[rng.permutation(len(ACCENTS))]
    paint = np.ones((size, size, 3)) * np.array([0.95, 0.92, 0.85])
    if number % 3 == 0:
        for k, level in enumerate(np.sort(rng.uniform(0.25, 0.9, 4))):
            line = level + 0.08 * smooth_noise(rng, 1, size, (1, 3))[0]
            paint[y > line[None]] = palette[k]
        paint[(x - rng.uniform(0.2, 0.8)) ** 2 + (y - 0.2) ** 2 < 0.012] = palette[4]
    elif number % 3 == 1:
        for k in range(5):
            cx, cy, radius = (
                rng.uniform(0.15, 0.85),
                rng.uniform(0.15, 0.85),
                rng.uniform(0.08, 0.26),
            )
            paint[(x - cx) ** 2 + (y - cy) ** 2 < radius**2] = palette[k]
    else:
        for k in range(5):
            left, top = rng.uniform(0.05, 0.6, 2)
            wide, tall = rng.uniform(0.15, 0.4, 2)
            paint[(x > left) & (x < left + wide) & (y > top) & (y < top + tall)] = palette[k]
    return finished(paint)
