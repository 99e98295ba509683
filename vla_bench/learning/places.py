"""Where in the images the points are that a policy may be taught to look at.

The two anchors of PosA-VLA: where the gripper acts next, and where it is now.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from vla_bench.learning.demonstrations import Demonstration


def places_of(demonstration: Demonstration, cameras: Sequence[str]) -> NDArray[np.float32] | None:
    """Where the two anchors are in each image of an episode.

    The task anchor of a row is where the gripper is at the next event of the episode, that row's own
    included, seen from where the row's cameras stand. After the last event there is none.

    Args:
        demonstration: The episode.
        cameras: Cameras, in order.

    Returns:
        float32 (K, 2, cameras, 2), K images: by anchor (task, end-effector) and camera the column and
        the row as fractions of the image's width and height; NaN where there is none, behind the camera
        or out of the frame. None if the episode does not tell where gripper and cameras were.
    """
    gripper, views = demonstration.gripper, demonstration.views
    if gripper is None or not cameras or any(camera not in views for camera in cameras):
        return None
    rows = demonstration.image_steps
    points = np.stack([_next_event(demonstration)[rows], gripper[rows]], axis=1)
    places = np.full((len(rows), 2, len(cameras), 2), np.nan, np.float32)
    for number, camera in enumerate(cameras):
        for anchor in range(2):
            places[:, anchor, number] = views[camera].places(points[:, anchor])
    return places


def _next_event(demonstration: Demonstration) -> NDArray[np.float32]:
    """Where the gripper will be at the next event, (T, 3); NaN after the last."""
    gripper, events = demonstration.gripper, demonstration.events
    assert gripper is not None
    assert events is not None
    targets = np.concatenate([gripper[events], np.full((1, 3), np.nan, np.float32)])
    found: NDArray[np.float32] = targets[np.searchsorted(events, np.arange(len(gripper)))]
    return found


def task_anchor_shares(
    demonstrations: Sequence[Demonstration], places: NDArray[np.float32]
) -> dict[str, float]:
    """By task the share of the rows in which some view shows a task anchor.

    Args:
        demonstrations: Episodes.
        places: (rows, 2, cameras, 2), theirs one after the other.
    """
    shown = np.any(np.isfinite(places[:, 0, :, 0]), axis=1)
    tasks = np.repeat(
        [d.task for d in demonstrations], [len(d.image_steps) for d in demonstrations]
    )
    return {str(task): float(shown[tasks == task].mean()) for task in np.unique(tasks)}
