"""Where a camera stands and how it draws: from points of the world to pixels of an image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Viewpoint:
    """A pinhole camera, of the image that a policy sees: turned and flipped as that is.

    Both matrices may have the same leading dimensions, one entry for each of several images. A flip is
    part of the intrinsics, whose diagonal is then not positive.
    """

    intrinsics: Floats
    """(..., 3, 3): from the camera's frame to pixels."""
    extrinsics: Floats
    """(..., 4, 4): from the world to the camera's frame; x right, y down, z forward (OpenCV), m."""
    width: int
    """Pixels in a row of the image."""
    height: int
    """Pixels in a column of the image."""

    def project(self, points: ArrayLike) -> Floats:
        """Where points of the world are in the image.

        Args:
            points: (..., 3), world frame (m); leading dimensions go with those of the matrices.

        Returns:
            float64 (..., 2): column and row (px). The centre of the first pixel is (0, 0). NaN for
            what is not in front of the camera; what is out of the frame has its place there.
        """
        world = np.asarray(points, np.float64)[..., None]
        turn, offset = self.extrinsics[..., :3, :3], self.extrinsics[..., :3, 3:]
        seen = (self.intrinsics @ (turn @ world + offset))[..., 0]
        depth = np.where(seen[..., 2:] > 0, seen[..., 2:], np.nan)
        pixels: Floats = seen[..., :2] / depth
        return pixels

    def resized(self, size: int | None) -> Viewpoint:
        """The same camera once its image has `size` x `size` pixels; None leaves it as it is."""
        if size is None:
            return self
        wide, high = size / self.width, size / self.height
        scale = np.array([(wide, 0, (wide - 1) / 2), (0, high, (high - 1) / 2), (0, 0, 1)])
        return Viewpoint(scale @ self.intrinsics, self.extrinsics, size, size)

    def places(self, points: ArrayLike) -> Floats:
        """The same as fractions of the image's width and height, (0, 0) its first corner.

        They hold at any size that the image is brought to.

        Returns:
            float64 (..., 2); NaN for what is not in front of the camera, or out of the frame.
        """
        places = (self.project(points) + 0.5) / (self.width, self.height)
        inside = ((places >= 0) & (places < 1)).all(-1, keepdims=True)
        return np.where(inside, places, np.nan)
