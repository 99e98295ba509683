"""Draws the world as seen from above: discs and capsules with soft edges on a tiled floor."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from math import ceil, cos, floor, sin
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vla_bench.suites.viewpoint import Viewpoint

Point = tuple[float, float]
Rgb = tuple[int, int, int]
Floats = NDArray[np.floating[Any]]
TILE = 0.5
"""Side of a floor tile (m)."""
HEIGHT = 1.0
"""Of a camera above the plane (m). Any would do: all that is seen lies in the plane."""
FLOOR: tuple[Rgb, Rgb] = ((238, 230, 216), (228, 218, 201))


@dataclass(frozen=True)
class View:
    """A camera that looks straight down.

    Attributes:
        size: Pixels along each side.
        scale: Metres per pixel.
        x, y: World position of the image's centre (m).
        up: World direction that points up in the image (rad).
    """

    size: int
    scale: float
    x: float
    y: float
    up: float

    def viewpoint(self) -> Viewpoint:
        """The same as a pinhole camera that hangs above the plane, in which every point of it lies."""
        c, s = cos(self.up), sin(self.up)
        extrinsics = np.eye(4)
        extrinsics[:3, :3] = (s, -c, 0), (-c, -s, 0), (0, 0, -1)
        extrinsics[:3, 3] = -extrinsics[:3, :3] @ (self.x, self.y, HEIGHT)
        focus, middle = HEIGHT / self.scale, (self.size - 1) / 2
        intrinsics = np.array([(focus, 0, middle), (0, focus, middle), (0, 0, 1)])
        return Viewpoint(intrinsics, extrinsics, self.size, self.size)


@cache
def _offsets(size: int, scale: float) -> NDArray[np.float32]:
    """Distance of each row above the centre, and of each column left of it (m), (size,)."""
    return (((size - 1) / 2 - np.arange(size)) * scale).astype(np.float32)


class Canvas:
    """An image in the making; it begins as bare floor, tiled so that motion can be seen.

    Args:
        view: What is seen.
        ground: Factors on the floor's red, green and blue, float64 (3,).
    """

    def __init__(self, view: View, ground: Floats) -> None:
        self.view = view
        self._tiles = (np.array(FLOOR) * ground).astype(np.float32)
        self._cos, self._sin = cos(view.up), sin(view.up)
        self._offsets = _offsets(view.size, view.scale)
        self._pixels = self._floor()

    def _floor(self) -> NDArray[np.float32]:
        up, left = self._offsets[:, None], self._offsets[None, :]
        x = self.view.x + self._cos * up - self._sin * left
        y = self.view.y + self._sin * up + self._cos * left
        odd = (np.floor(x / TILE) + np.floor(y / TILE)).astype(np.int32) & 1
        pixels: NDArray[np.float32] = self._tiles[odd]
        return pixels

    def disc(self, centre: Point, radius: float, colour: Rgb) -> None:
        """A filled disc; lengths in metres, world frame."""
        self.capsule(centre, centre, radius, colour)

    def capsule(self, start: Point, end: Point, radius: float, colour: Rgb) -> None:
        """All that lies within `radius` of a line segment; lengths in metres, world frame."""
        (u0, l0), (u1, l1) = self._seen(start), self._seen(end)
        rows, columns = self._span(u0, u1, radius), self._span(l0, l1, radius)
        if rows.start >= rows.stop or columns.start >= columns.stop:
            return
        up, left = self._offsets[rows, None] - u0, self._offsets[None, columns] - l0
        du, dl = u1 - u0, l1 - l0
        length = du * du + dl * dl
        if length > 0:
            along = np.clip((up * du + left * dl) / length, 0, 1)
            up, left = up - along * du, left - along * dl
        distance = np.sqrt(up * up + left * left)
        covered = np.clip((radius - distance) / self.view.scale + 0.5, 0, 1)
        patch = self._pixels[rows, columns]
        patch += covered[..., None] * (np.array(colour, np.float32) - patch)

    def _seen(self, point: Point) -> Point:
        """A world point relative to the image's centre: how far up, how far left (m)."""
        dx, dy = point[0] - self.view.x, point[1] - self.view.y
        return self._cos * dx + self._sin * dy, self._cos * dy - self._sin * dx

    def _span(self, a: float, b: float, radius: float) -> slice:
        """Rows (or columns) that a shape between two offsets can touch."""
        middle, scale, size = (self.view.size - 1) / 2, self.view.scale, self.view.size
        first = floor(middle - (max(a, b) + radius) / scale)
        last = ceil(middle - (min(a, b) - radius) / scale)
        return slice(max(first, 0), min(last + 1, size))

    def image(self, light: Floats) -> NDArray[np.uint8]:
        """The finished image under a light, factors on red, green and blue: uint8 (size, size, 3)."""
        return (np.minimum(self._pixels * light.astype(np.float32), 255) + 0.5).astype(np.uint8)
