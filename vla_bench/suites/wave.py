"""The contract of environments that begin and step together in one process."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from vla_bench.errors import UserError
from vla_bench.items import WorkItem
from vla_bench.perturbations.changes import Change
from vla_bench.suites.base import RawObservation, SuiteEnv, no_cameras
from vla_bench.suites.viewpoint import Viewpoint


class WaveEnv(ABC):
    """Plays items of one task in step with each other: a wave of episodes, one lane each.

    All lanes begin together and none begins again before the next wave. A lane whose episode has ended
    goes on with the others; what happens in it then is of no interest.

    Attributes:
        items: Items of the task.
        max_steps: Steps after which an episode is truncated.
        render_mode: "rgb_array" if `render` will be called, else None.
        action_space: The actions of one lane.
        observation_space: The observations of one lane.
        grippers: See `SuiteEnv`.
    """

    grippers: tuple[int, ...] = ()

    action_space: gymnasium.Space[NDArray[np.float32]]
    observation_space: gymnasium.Space[RawObservation]

    def __init__(self, items: Sequence[WorkItem], max_steps: int, render_mode: str | None) -> None:
        self.items = items
        self.max_steps = max_steps
        self.render_mode = render_mode

    @abstractmethod
    def begin(self, items: Sequence[WorkItem]) -> None:
        """Puts as many lanes as there are items into the items' initial states and lets them settle."""

    @abstractmethod
    def advance(self, actions: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Plays one control step of all lanes without observing.

        Args:
            actions: Finite float32 (lanes, action size); values outside the action space are clipped.

        Returns:
            Bool (lanes,): whether the task's success conditions hold after the step.
        """

    @abstractmethod
    def observe(self, images: bool = True) -> Sequence[RawObservation]:
        """Reads all lanes as they stand; see `SuiteEnv.observe`."""

    @abstractmethod
    def state_bytes(self, lane: int) -> bytes:
        """The complete dynamic state of a lane, for digests: equal bytes mean an equal world."""

    @abstractmethod
    def world_probe(self, lane: int) -> str:
        """Digest of a lane's settled initial world, rounded so that it survives a change of machine."""

    def perturb(self, lane: int, change: Change) -> None:
        """Changes the running world of a lane; see `SuiteEnv.perturb`."""
        raise NotImplementedError(f"{type(self).__name__} has no {type(change).__name__}")

    def status(self, lane: int) -> Mapping[str, bool | float]:
        """Measures of a lane as it stands; see `SuiteEnv.status`."""
        return {}

    def viewpoints(self, lane: int) -> Mapping[str, Viewpoint]:
        """How the cameras see a lane; see `SuiteEnv.viewpoints`."""
        raise UserError(no_cameras(type(self).__name__))

    def gripper_position(self, lane: int) -> NDArray[np.float64]:
        """The point between a lane's fingertips; see `SuiteEnv.gripper_position`."""
        raise UserError(no_cameras(type(self).__name__))

    def relevant(self, lane: int, camera: str) -> NDArray[np.bool_]:
        """Pixels of what a lane's task is about; see `SuiteEnv.relevant`."""
        raise UserError(no_cameras(type(self).__name__))

    def render(self, lane: int) -> NDArray[np.uint8]:
        """A lane as a spectator sees it, uint8 (H, W, 3)."""
        raise NotImplementedError

    @abstractmethod
    def close(self) -> None:
        """Frees the lanes."""


class LaneEnv(SuiteEnv):
    """A lane as an environment of its own: by default the only one of its wave.

    Args:
        wave: The lanes.
        lane: Which of them.
    """

    def __init__(self, wave: WaveEnv, lane: int = 0) -> None:
        super().__init__(wave.items, wave.max_steps, wave.render_mode)
        self.wave = wave
        self.lane = lane
        self.action_space = wave.action_space
        self.observation_space = wave.observation_space
        self.grippers = wave.grippers

    def begin(self, item: WorkItem) -> None:
        """Begins a wave of this item alone."""
        self.wave.begin([item])

    def advance(self, action: NDArray[np.float32]) -> bool:
        """Plays one control step of the wave, which has one lane."""
        [success] = self.wave.advance(action[None])
        return bool(success)

    def observe(self, images: bool = True) -> RawObservation:
        """Reads the lane."""
        return self.wave.observe(images)[self.lane]

    def state_bytes(self) -> bytes:
        """The complete dynamic state of the lane."""
        return self.wave.state_bytes(self.lane)

    def world_probe(self) -> str:
        """Digest of the lane's settled initial world."""
        return self.wave.world_probe(self.lane)

    def perturb(self, change: Change) -> None:
        """Changes the running world of the lane."""
        self.wave.perturb(self.lane, change)

    def status(self) -> Mapping[str, bool | float]:
        """Measures of the lane as it stands."""
        return self.wave.status(self.lane)

    def viewpoints(self) -> Mapping[str, Viewpoint]:
        """How the cameras see the lane."""
        return self.wave.viewpoints(self.lane)

    def gripper_position(self) -> NDArray[np.float64]:
        """The point between the lane's fingertips."""
        return self.wave.gripper_position(self.lane)

    def relevant(self, camera: str) -> NDArray[np.bool_]:
        """Pixels of what the lane's task is about."""
        return self.wave.relevant(self.lane, camera)

    def render(self) -> Any:  # noqa: ANN401  gymnasium declares it so
        """The lane as a spectator sees it, uint8 (H, W, 3)."""
        return self.wave.render(self.lane)

    def close(self) -> None:
        """Frees the wave."""
        self.wave.close()
