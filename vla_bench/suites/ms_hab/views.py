"""Where SAPIEN's cameras stand, in the axes and pixels of `Viewpoint`."""

from __future__ import annotations

import numpy as np
import sapien
from sapien.physx import PhysxArticulationLinkComponent
from sapien.render import RenderCameraComponent

from vla_bench.suites.ms_hab.physics import Reader
from vla_bench.suites.viewpoint import Viewpoint

TO_OPENCV = np.array([[0, -1, 0, 0], [0, 0, -1, 0], [1, 0, 0, 0], [0, 0, 0, 1]])
"""From SAPIEN's forward, left, up to right, down, forward."""


def viewpoint(camera: RenderCameraComponent, reader: Reader) -> Viewpoint:
    """How a camera on a link of the robot sees its lane as it stands."""
    link = camera.entity.find_component_by_type(PhysxArticulationLinkComponent)
    pose: sapien.Pose = reader.pose(link) * camera.local_pose
    intrinsics = camera.get_intrinsic_matrix().astype(np.float64)
    # SAPIEN counts from the first pixel's corner.
    intrinsics[:2, 2] -= 0.5
    extrinsics = TO_OPENCV @ pose.inv().to_transformation_matrix().astype(np.float64)
    return Viewpoint(intrinsics, extrinsics, camera.width, camera.height)
