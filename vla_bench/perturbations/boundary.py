"""Perturbations between policy and world, the same in every suite: of actions, sensors and words."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from vla_bench.learning.noise import CORRELATION
from vla_bench.learning.noise import ActionNoise as Noise
from vla_bench.perturbations.base import Perturbation
from vla_bench.perturbations.rewording import reworded

if TYPE_CHECKING:
    from vla_bench.policies.base import Observation
    from vla_bench.suites.base import SuiteEnv


class ActionNoise(Perturbation):
    """The noise that experts are recorded under, on the actions of a policy."""

    name = "action-noise"
    description = (
        "noise on every action played, grippers aside, "
        f"correlated by {CORRELATION:g} from step to step"
    )
    units = "standard deviation {} of full scale"
    levels = ((0.05,), (0.1,), (0.2,))

    def begin(self, env: SuiteEnv) -> None:
        """Starts the noise on all entries but the grippers'."""
        assert self.suite.action.size is not None
        moving = np.ones(self.suite.action.size, bool)
        moving[list(env.grippers)] = False
        self._noise = Noise(self.item, self.strength[0], moving)

    def played(self, env: SuiteEnv, action: NDArray[np.float32], step: int) -> NDArray[np.float32]:
        """The action with noise."""
        return self._noise.executed(action)


class ProprioceptionNoise(Perturbation):
    """Sensors of the robot that are not exact."""

    name = "proprioception-noise"
    description = "Gaussian noise on every entry of the state that is read, fresh at every reading"
    units = "standard deviation {} of the entry's unit (m, rad, m/s, rad/s)"
    levels = ((0.002,), (0.005,), (0.02,))
    felt_in = "state"

    def observed(self, observation: Observation) -> Observation:
        """The observation with noise on its state."""
        return dataclasses.replace(
            observation,
            state={
                name: (values + self._draw(observation.step, name, values.shape)).astype(np.float32)
                for name, values in observation.state.items()
            },
        )

    def _draw(self, step: int, name: str, shape: tuple[int, ...]) -> NDArray[np.float64]:
        return self.strength[0] * self.generator(f"{step}/{name}").standard_normal(shape)


class ImageNoise(Perturbation):
    """Cameras with noise."""

    name = "image-noise"
    description = "Gaussian noise on every pixel, fresh at every reading"
    units = "standard deviation {} of 255 grey levels"
    levels = ((10,), (25,), (50,))
    felt_in = "images"

    def observed(self, observation: Observation) -> Observation:
        """The observation with noise on its images."""
        return dataclasses.replace(
            observation,
            images={
                name: self._noisy(image, observation.step, name)
                for name, image in observation.images.items()
            },
        )

    def _noisy(self, image: NDArray[np.uint8], step: int, camera: str) -> NDArray[np.uint8]:
        noise = self.generator(f"{step}/{camera}").standard_normal(image.shape, np.float32)
        return np.clip(np.rint(image + self.strength[0] * noise), 0, 255).astype(np.uint8)


class Paraphrase(Perturbation):
    """Other words for the same task."""

    name = "paraphrase"
    description = "the instruction in other words, the same all through an episode"
    units = "{}"
    levels = ((1,), (2,), (3,))

    @classmethod
    def said(cls, level: int) -> str:
        """How far from the original."""
        return ("other verbs", "other verbs in a polite request", "the same in a long sentence")[
            level - 1
        ]

    def observed(self, observation: Observation) -> Observation:
        """The observation with another instruction."""
        words = reworded(observation.instruction, int(self.strength[0]), self.generator())
        return dataclasses.replace(observation, instruction=words)
