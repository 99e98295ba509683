"""Where MuJoCo's cameras stand, in the axes and pixels of `Viewpoint`."""

from __future__ import annotations

from typing import Any

import numpy as np

from vla_bench.suites.viewpoint import Viewpoint

TO_OPENCV = np.diag([1.0, -1, -1])
"""From MuJoCo's right, up, backwards to right, down, forward."""


def viewpoint(model: Any, data: Any, camera: int, size: tuple[int, int]) -> Viewpoint:  # noqa: ANN401
    """How a camera sees, its image turned by 180 degrees from how robosuite gives it.

    robosuite's first row is the lowest: turned, the image stands upright, and left and right are
    exchanged. The first entry of the intrinsics says so by its sign.

    Args:
        model: MuJoCo's model.
        data: MuJoCo's data.
        camera: Number of the camera.
        size: Height and width of the image in pixels.
    """
    height, width = size
    focus = height / 2 / np.tan(np.deg2rad(model.cam_fovy[camera]) / 2)
    intrinsics = np.array([(-focus, 0, (width - 1) / 2), (0, focus, (height - 1) / 2), (0, 0, 1)])
    extrinsics = np.eye(4)
    extrinsics[:3, :3] = TO_OPENCV @ data.cam_xmat[camera].reshape(3, 3).T
    extrinsics[:3, 3] = -extrinsics[:3, :3] @ data.cam_xpos[camera]
    return Viewpoint(intrinsics, extrinsics, width, height)
