"""What observations are read from: the world as it was one physics step before a control step ended.

robosuite reads its sensors, cameras included, inside the loop over the 25 physics steps of a control
step: after the 24th (found by running its clock; the tests compare with it). To draw later exactly what
it would have drawn then, the quantities that drawing and proprioception depend on are kept.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import mujoco
import numpy as np
from numpy.typing import NDArray

SAMPLED_AFTER = 24
"""Physics steps of a control step after which robosuite reads its sensors."""
KEPT = (
    "qpos",
    "xpos",
    "xquat",
    "xmat",
    "geom_xpos",
    "geom_xmat",
    "site_xpos",
    "site_xmat",
    "cam_xpos",
    "cam_xmat",
    "light_xpos",
    "light_xdir",
)
"""Fields of MuJoCo's data that drawing and proprioception read."""


class Sample:
    """A copy of the drawable state of one simulation.

    Args:
        sim: robosuite's simulation; of a rebuilt one a new sample is needed.

    Attributes:
        data: MuJoCo's data of which the fields `KEPT` are those of the moment of sampling.
    """

    def __init__(self, sim: Any) -> None:  # noqa: ANN401
        self._model = sim.model._model
        self.data = mujoco.MjData(self._model)
        live = sim.data._data
        self._pairs = [(getattr(self.data, name), getattr(live, name)) for name in KEPT]
        self._sites = self._model.site_rgba.copy()

    def take(self) -> None:
        """Copies the state of this moment."""
        for kept, live in self._pairs:
            np.copyto(kept, live)
        np.copyto(self._sites, self._model.site_rgba)

    def draw(self, context: Any, camera: str, size: tuple[int, int]) -> NDArray[np.uint8]:  # noqa: ANN401
        """Draws the kept state with robosuite's own code.

        Args:
            context: robosuite's offscreen context of the same simulation.
            camera: MuJoCo's name of the camera.
            size: Height and width in pixels.

        Returns:
            uint8 (height, width, 3), the origin at the lower left, as robosuite gives it.
        """
        with self._shown_by(context):
            return _draw(context, camera, size)

    def draw_geoms(self, context: Any, camera: str, size: tuple[int, int]) -> NDArray[np.int32]:  # noqa: ANN401
        """Which geometry each pixel of `draw` shows: its number, -1 for none; (height, width)."""
        with self._shown_by(context):
            colours = _draw(context, camera, size, segmentation=True).astype(np.int32)
        geoms = np.full(context.scn.maxgeom + 1, -1, np.int32)
        for thing in context.scn.geoms[: context.scn.ngeom]:
            if thing.objtype == mujoco.mjtObj.mjOBJ_GEOM:
                geoms[thing.segid + 1] = thing.objid
        numbers = colours @ (1, 1 << 8, 1 << 16)
        return geoms[np.where(numbers < len(geoms), numbers, 0)]

    @contextmanager
    def _shown_by(self, context: Any) -> Iterator[None]:  # noqa: ANN401
        """Makes the kept state what robosuite's context draws, for a while."""
        live, sites = context.data, self._model.site_rgba.copy()
        context.gl_ctx.make_current()
        try:
            # What glows (the stove) is in the model, and may have changed since.
            np.copyto(self._model.site_rgba, self._sites)
            context.data = _Holder(self.data)
            yield
        finally:
            context.data = live
            np.copyto(self._model.site_rgba, sites)


def _draw(
    context: Any,  # noqa: ANN401
    camera: str,
    size: tuple[int, int],
    segmentation: bool = False,
) -> NDArray[np.uint8]:
    height, width = size
    number = context.model.camera_name2id(camera)
    context.render(width=width, height=height, camera_id=number, segmentation=segmentation)
    image: NDArray[np.uint8] = context.read_pixels(width, height)
    return image


class _Holder:
    """robosuite's context looks for MuJoCo's data under this name."""

    def __init__(self, data: mujoco.MjData) -> None:
        self._data = data
