"""Changes of a running world: what a simulator is asked for, in physical units."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]
"""Float64 (3,)."""


@dataclass(frozen=True)
class Push:
    """A sudden velocity, on top of what the body has."""

    body: Literal["base", "object"]
    """The robot's base, or the thing that the task is about."""
    velocity: Vector
    """m/s, world frame, horizontal. A thing on a joint takes what the joint lets through."""


@dataclass(frozen=True)
class CameraShift:
    """A camera that is not where it was."""

    camera: str
    """Its name on the card."""
    offset: Vector
    """m, along the camera's own axes: right, up, backwards."""
    rotation: Vector
    """Rotation vector (rad) about the same axes."""


@dataclass(frozen=True)
class Light:
    """Other light."""

    colour: Vector
    """Factors on red, green and blue of all light."""
    offset: Vector
    """m, world frame: where every lamp is moved, as far as the world has lamps."""


@dataclass(frozen=True)
class Backdrop:
    """Another colour of what things stand on and in front of: floor, walls, table."""

    colour: Vector
    """Factors in [0, 1] on its red, green and blue."""


Change = Push | CameraShift | Light | Backdrop
