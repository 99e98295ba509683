"""Pictures painted with numpy: floors, walls, cloth, labels and fruit.

Colours are sRGB in [0, 1] while painting; every public function returns (H, W, 3) uint8.
"""

from __future__ import annotations

import zlib

import numpy as np

from vla_bench.suites.ms_hab.mini.meshes import Array, Image, Vec3


def rng_of(*key: object) -> np.random.Generator:
    """A generator whose stream depends on `key` alone."""
    return np.random.default_rng(zlib.crc32(repr(key).encode()))


def finished(paint: Array) -> Image:
    """Painted values (H, W, 3) in [0, 1] as uint8."""
    return (np.clip(paint, 0, 1) * 255 + 0.5).astype(np.uint8)


def smooth_noise(rng: np.random.Generator, height: int, width: int, cells: tuple[int, int]) -> Array:
    """(height, width) values in [-1, 1] that vary smoothly over `cells` (rows, columns)."""
    grid = rng.uniform(-1, 1, (cells[0] + 1, cells[1] + 1))
    y = np.linspace(0, cells[0], height, endpoint=False)
    x = np.linspace(0, cells[1], width, endpoint=False)
    i, j = y.astype(int), x.astype(int)
    fy, fx = _ease(y - i)[:, None], _ease(x - j)[None, :]
    top = grid[np.ix_(i, j)] * (1 - fx) + grid[np.ix_(i, j + 1)] * fx
    bottom = grid[np.ix_(i + 1, j)] * (1 - fx) + grid[np.ix_(i + 1, j + 1)] * fx
    return np.asarray(top * (1 - fy) + bottom * fy)


def _ease(t: Array) -> Array:
    return t * t * (3 - 2 * t)


def plain(color: Vec3, size: int = 4) -> Image:
    """A square of one colour."""
    return finished(np.ones((size, size, 3)) * np.asarray(color))


def _mix(a: Vec3, b: Vec3, amount: Array) -> Array:
    return np.asarray(a) * (1 - amount[..., None]) + np.asarray(b) * amount[..., None]


def apple_skin() -> Image:
    """Red, with a yellow-green crown that runs down in streaks, and pale freckles."""
    rng = rng_of("apple")
    height, width = 128, 256
    v = np.linspace(0, 1, height)[:, None] * np.ones((1, width))
    streaks = smooth_noise(rng, height, width, (3, 40)) * 0.10 + smooth_noise(rng, height, width, (4, 8)) * 0.10
    green = np.clip((0.34 - v + streaks) * 4.0, 0, 1)
    blush = np.clip(0.5 + smooth_noise(rng, height, width, (3, 5)) * 0.7, 0, 1)
    paint = _mix((0.80, 0.07, 0.07), (0.60, 0.03, 0.06), blush)
    paint = paint * (1 - green[..., None]) + np.array([0.72, 0.78, 0.25]) * green[..., None]
    paint[:5] *= np.array([0.6, 0.6, 0.3])
    freckle = rng.uniform(size=(height, width)) > 0.992
    paint[freckle] = paint[freckle] * 0.6 + np.array([0.95, 0.85, 0.6]) * 0.4
    return finished(paint)


def bowl_outside() -> Image:
    """A blue glaze with a cream band below the rim."""
    v = np.linspace(1, 0, 64)[::-1, None] * np.ones((1, 8))
    paint = _mix((0.10, 0.32, 0.62), (0.07, 0.22, 0.48), v)
    paint[6:14] = (0.93, 0.88, 0.74)
    paint[0:4] = (0.05, 0.15, 0.35)
    return finished(paint)


def bowl_inside() -> Image:
    """Cream, darker towards the middle, with a blue ring."""
    v = np.linspace(0, 1, 64)[:, None] * np.ones((1, 8))
    paint = _mix((0.80, 0.74, 0.60), (0.95, 0.91, 0.80), v)
    paint[48:52] = (0.12, 0.33, 0.62)
    return finished(paint)


def soup_label() -> Image:
    """Red above, white below, a gold medal between and a line of lettering."""
    height, width = 96, 256
    y, x = np.mgrid[0:height, 0:width]
    paint = np.where((y < 50)[..., None], np.array([0.75, 0.05, 0.06]), np.array([0.95, 0.94, 0.90]))
    for middle in (64, 192):
        medal = (x - middle) ** 2 + (y - 50) ** 2 < 13**2
        paint[medal] = (0.85, 0.65, 0.20)
        letters = (abs(x - middle) < 40) & (abs(y - 24) < 8) & ((x // 5) % 2 == 0)
        paint[letters] = (0.97, 0.95, 0.92)
        small = (abs(x - middle) < 34) & (abs(y - 76) < 5) & ((x // 3) % 2 == 0)
        paint[small] = (0.75, 0.05, 0.06)
    return finished(paint)


def cracker_front() -> Image:
    """A red box with a yellow banner, a blue stripe and a stack of crackers."""
    height, width = 160, 120
    y, x = np.mgrid[0:height, 0:width]
    paint = np.ones((height, width, 3)) * np.array([0.78, 0.08, 0.06])
    banner = abs(y - 38 - (x - 60) * 0.12) < 20
    paint[banner] = (0.97, 0.80, 0.15)
    paint[banner & (abs(x - 60) < 42) & ((x // 6) % 2 == 0) & (abs(y - 38 - (x - 60) * 0.12) < 11)] = (0.1, 0.2, 0.55)
    for cx, cy in ((40, 115), (66, 105), (84, 126)):
        cracker = (abs(x - cx) < 19) & (abs(y - cy) < 19)
        paint[cracker] = (0.88, 0.66, 0.32)
        paint[cracker & (x % 9 == 4) & (y % 9 == 4)] = (0.55, 0.35, 0.12)
    paint[150:] = (0.10, 0.20, 0.50)
    return finished(paint)


def banana_peel() -> Image:
    """Yellow with brown ends and a few freckles; v runs along the fruit."""
    rng = rng_of("banana")
    height, width = 128, 64
    v = np.linspace(0, 1, height)[:, None] * np.ones((1, width))
    paint = np.ones((height, width, 3)) * np.array([0.95, 0.78, 0.13])
    paint *= 1 + 0.05 * smooth_noise(rng, height, width, (8, 6))[..., None]
    ends = np.clip((np.abs(v - 0.5) - 0.44) * 30, 0, 1)
    paint = paint * (1 - ends[..., None]) + np.array([0.28, 0.20, 0.08]) * ends[..., None]
    spots = smooth_noise(rng, height, width, (40, 20)) > 0.72
    paint[spots] *= 0.6
    return finished(paint)


def mug_glaze() -> Image:
    """Teal with two white stripes."""
    paint = np.ones((64, 8, 3)) * np.array([0.10, 0.48, 0.46])
    paint[14:18] = paint[46:50] = (0.94, 0.93, 0.88)
    return finished(paint)


def wood_grain(color: Vec3, size: int = 128) -> Image:
    """Wood of one board, grain along the image's rows."""
    rng = rng_of("grain", color)
    grain = smooth_noise(rng, size, size, (32, 3)) * 0.5 + smooth_noise(rng, size, size, (12, 2))
    return finished(np.asarray(color) * (1 + 0.14 * grain[..., None]))


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
