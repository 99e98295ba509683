"""Tools for painting textures: seeded noise, mixing, shading.

Colours are sRGB in [0, 1] while painting; finished pictures are (H, W, 3) uint8.
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


def smooth_noise(
    rng: np.random.Generator, height: int, width: int, cells: tuple[int, int]
) -> Array:
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


def mixed(a: Vec3, b: Vec3, amount: Array) -> Array:
    """Colour `a` where (H, W) `amount` is 0, `b` where it is 1, in between elsewhere."""
    return np.asarray(a) * (1 - amount[..., None]) + np.asarray(b) * amount[..., None]


def enlarged(values: Array, shape: tuple[int, ...]) -> Array:
    """(h, w) values stretched smoothly to a larger (H, W)."""
    rows = np.linspace(0, values.shape[0] - 1.001, shape[0])
    columns = np.linspace(0, values.shape[1] - 1.001, shape[1])
    i, j = rows.astype(int), columns.astype(int)
    fy, fx = (rows - i)[:, None], (columns - j)[None, :]
    tall = values[i] * (1 - fy) + values[i + 1] * fy
    return np.asarray(tall[:, j] * (1 - fx) + tall[:, j + 1] * fx)


def shaded(image: Image, brightness: Array) -> Image:
    """An image darkened by (H, W) brightness in [0, 1]."""
    return (image * brightness[..., None] + 0.5).astype(np.uint8)
