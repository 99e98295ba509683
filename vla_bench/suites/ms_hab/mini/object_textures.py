"""Skins, glazes and labels of the small objects."""

from __future__ import annotations

import numpy as np

from vla_bench.suites.ms_hab.mini.meshes import Image
from vla_bench.suites.ms_hab.mini.paint import finished, mixed, rng_of, smooth_noise


def apple_skin() -> Image:
    """Red, with a yellow-green crown that runs down in streaks, and pale freckles."""
    rng = rng_of("apple")
    height, width = 128, 256
    v = np.linspace(0, 1, height)[:, None] * np.ones((1, width))
    streaks = (
        smooth_noise(rng, height, width, (3, 40)) * 0.10
        + smooth_noise(rng, height, width, (4, 8)) * 0.10
    )
    green = np.clip((0.34 - v + streaks) * 4.0, 0, 1)
    blush = np.clip(0.5 + smooth_noise(rng, height, width, (3, 5)) * 0.7, 0, 1)
    paint = mixed((0.80, 0.07, 0.07), (0.60, 0.03, 0.06), blush)
    paint = paint * (1 - green[..., None]) + np.array([0.72, 0.78, 0.25]) * green[..., None]
    paint[:5] *= np.array([0.6, 0.6, 0.3])
    freckle = rng.uniform(size=(height, width)) > 0.992
    paint[freckle] = paint[freckle] * 0.6 + np.array([0.95, 0.85, 0.6]) * 0.4
    return finished(paint)


def bowl_outside() -> Image:
    """A blue glaze with a cream band below the rim."""
    v = np.linspace(1, 0, 64)[::-1, None] * np.ones((1, 8))
    paint = mixed((0.10, 0.32, 0.62), (0.07, 0.22, 0.48), v)
    paint[11:16] = (0.93, 0.88, 0.74)
    paint[0:4] = (0.05, 0.15, 0.35)
    return finished(paint)


def bowl_inside() -> Image:
    """Cream, darker towards the middle, with a blue ring."""
    v = np.linspace(0, 1, 64)[:, None] * np.ones((1, 8))
    paint = mixed((0.80, 0.74, 0.60), (0.95, 0.91, 0.80), v)
    paint[48:52] = (0.12, 0.33, 0.62)
    return finished(paint)


def soup_label() -> Image:
    """Red above, white below, a gold medal between and a line of lettering."""
    height, width = 96, 256
    y, x = np.mgrid[0:height, 0:width]
    paint = np.where(
        (y < 50)[..., None], np.array([0.75, 0.05, 0.06]), np.array([0.95, 0.94, 0.90])
    )
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
    paint[
        banner & (abs(x - 60) < 42) & ((x // 6) % 2 == 0) & (abs(y - 38 - (x - 60) * 0.12) < 11)
    ] = (0.1, 0.2, 0.55)
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
