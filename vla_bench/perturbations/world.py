"""Perturbations of the world itself, as far as a suite's simulator allows them."""

from __future__ import annotations

import colorsys
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from vla_bench.perturbations.base import Perturbation
from vla_bench.perturbations.changes import Backdrop, CameraShift, Light, Push, Vector

if TYPE_CHECKING:
    from vla_bench.suites.base import SuiteEnv

PUSHED_AFTER_S = (0.5, 3.0)
"""Simulated seconds of the episode between which the push comes."""


class _Pushed(Perturbation):
    units = "{} m/s"
    of_world = True
    body: ClassVar[Literal["base", "object"]]

    def begin(self, env: SuiteEnv) -> None:
        """Draws when and in which horizontal direction."""
        draw = self.generator()
        self._step = int(self.suite.control_hz * draw.uniform(*PUSHED_AFTER_S))
        angle = draw.uniform(-np.pi, np.pi)
        self._velocity = self.strength[0] * np.array([np.cos(angle), np.sin(angle), 0])

    def played(self, env: SuiteEnv, action: NDArray[np.float32], step: int) -> NDArray[np.float32]:
        """The action as it is; at one step something is pushed before it is played."""
        if step == self._step:
            env.perturb(Push(self.body, self._velocity))
        return action


class PushBase(_Pushed):
    """A push on the robot's base."""

    name = "push-base"
    description = "one push on the robot's base, 0.5 to 3 s into the episode: a sudden velocity"
    levels = ((0.5,), (1.0,), (2.0,))
    body = "base"


class PushObject(_Pushed):
    """A push on what the task is about."""

    name = "push-object"
    description = (
        "one push on what the task is about, 0.5 to 3 s into the episode: a sudden velocity"
    )
    levels = ((0.25,), (0.5,), (1.0,))
    body = "object"


class ShiftedCamera(Perturbation):
    """Cameras that are not where they were."""

    name = "camera-shift"
    description = "every camera moved and turned, each in a direction and about an axis of its own"
    units = "{} m and {} degrees"
    levels = ((0.01, 2), (0.02, 5), (0.04, 10))
    felt_in = "images"
    of_world = True

    def begin(self, env: SuiteEnv) -> None:
        """Shifts all cameras of the card, whether or not they are read."""
        metres, degrees = self.strength
        for camera in self.suite.cameras:
            draw = self.generator(camera)
            offset, axis = _direction(draw), _direction(draw)
            env.perturb(CameraShift(camera, metres * offset, np.deg2rad(degrees) * axis))


class Lighting(Perturbation):
    """Other light."""

    name = "lighting"
    description = "all light brighter or darker and of another colour, every lamp moved sideways"
    units = "brightness times or divided by {}, each colour up to {} more or less, {} m"
    levels = ((1.25, 0.05, 0.25), (1.6, 0.15, 0.5), (2.5, 0.3, 1.0))
    felt_in = "images"
    of_world = True

    def begin(self, env: SuiteEnv) -> None:
        """Changes the light for the whole episode."""
        factor, tint, metres = self.strength
        draw = self.generator()
        brightness = factor ** draw.choice([-1.0, 1.0])
        angle = draw.uniform(-np.pi, np.pi)
        offset = metres * np.array([np.cos(angle), np.sin(angle), 0])
        env.perturb(Light(brightness * (1 + tint * draw.uniform(-1, 1, 3)), offset))


class Background(Perturbation):
    """Another floor, other walls, another table."""

    name = "background"
    description = "floor, walls and table tinted with a drawn hue"
    units = "{} of the way to the pure hue"
    levels = ((0.25,), (0.5,), (0.9,))
    felt_in = "images"
    of_world = True

    def begin(self, env: SuiteEnv) -> None:
        """Tints the background for the whole episode."""
        hue = np.array(colorsys.hsv_to_rgb(self.generator().random(), 1, 1))
        env.perturb(Backdrop(1 - self.strength[0] * (1 - hue)))


def _direction(draw: np.random.Generator) -> Vector:
    """A unit vector, uniform on the sphere."""
    vector = draw.standard_normal(3)
    unit: Vector = vector / np.linalg.norm(vector)
    return unit
