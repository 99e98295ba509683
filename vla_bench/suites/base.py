"""The contract of a suite: a Gymnasium environment plus an ordered manifest of initial states."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from vla_bench.assets import Download
from vla_bench.cards import SuiteCard
from vla_bench.errors import UserError
from vla_bench.items import CLEAN, InitialState, WorkItem, make_items
from vla_bench.perturbations.changes import Change

if TYPE_CHECKING:
    from vla_bench.suites.viewpoint import Viewpoint
    from vla_bench.suites.wave import WaveEnv

Arrays = dict[str, NDArray[Any]]
RawObservation = dict[str, Arrays]
"""`images`: name -> uint8 (H, W, 3); `state` and `privileged`: name -> float32 (n,)."""


def no_cameras(environment: str) -> str:
    """What to say of an environment that does not know where its cameras stand."""
    return (
        f"{environment} does not tell where its cameras stand; use a suite that does: micro, "
        "ms-hab-mini, ms-hab or libero"
    )


class SuiteEnv(gymnasium.Env[RawObservation, NDArray[np.float32]], ABC):
    """One environment that plays any item of one task.

    `step` is `advance` followed by `observe`; the episode loop calls the two apart, so that only
    observations that somebody reads are rendered. Rendering never changes the state of the world.

    Attributes:
        items: The items that `reset` draws from when it is given none.
        max_steps: Steps after which an episode is truncated.
        grippers: Entries of an action that command a gripper; action noise spares them.
    """

    grippers: tuple[int, ...] = ()
    metadata: dict[str, Any] = {  # noqa: RUF012  gymnasium declares it so
        "render_modes": ["rgb_array"],
        "render_fps": 20,
    }

    def __init__(self, items: Sequence[WorkItem], max_steps: int, render_mode: str | None) -> None:
        self.items = items
        self.max_steps = max_steps
        self.render_mode = render_mode
        self.step_count = 0

    @abstractmethod
    def begin(self, item: WorkItem) -> None:
        """Puts the world into the item's initial state and lets it settle."""

    @abstractmethod
    def advance(self, action: NDArray[np.float32]) -> bool:
        """Plays one control step without observing.

        Args:
            action: Finite float32 (action size,); values outside the action space are clipped.

        Returns:
            Whether the task's success conditions hold after the step.
        """

    @abstractmethod
    def observe(self, images: bool = True) -> RawObservation:
        """Reads the world as it stands.

        Args:
            images: Whether to render the cameras; without, `images` of the result is empty and the
                state entries are the same to the bit.
        """

    @abstractmethod
    def state_bytes(self) -> bytes:
        """The simulator's complete dynamic state, for digests: equal bytes mean an equal world."""

    @abstractmethod
    def world_probe(self) -> str:
        """Digest of the settled initial world, rounded so that it survives a change of machine."""

    def perturb(self, change: Change) -> None:
        """Changes the running world, until `begin` is called again and undoes it to the bit.

        Args:
            change: One that the suite's `perturbations` ask for.
        """
        raise NotImplementedError(f"{type(self).__name__} has no {type(change).__name__}")

    def status(self) -> Mapping[str, bool | float]:
        """Measures of the world as it stands, from `begin` on, e.g. the parts of the success condition.

        The last ones of an episode go into its record, those that are finite.
        """
        return {}

    def viewpoints(self) -> Mapping[str, Viewpoint]:
        """How each observed camera sees the world that the last `observe` would have shown.

        Reading them changes nothing. They are those of the images that a policy is given, flips included.

        Raises:
            UserError: The suite does not know.
        """
        raise UserError(no_cameras(type(self).__name__))

    def gripper_position(self) -> NDArray[np.float64]:
        """The point between the fingertips as `viewpoints` see it: (3,), world frame (m).

        Raises:
            UserError: The suite does not know.
        """
        raise UserError(no_cameras(type(self).__name__))

    def relevant(self, camera: str) -> NDArray[np.bool_]:
        """Which pixels show the objects that the task is about, as the simulator knows: (H, W).

        Args:
            camera: An observed camera; the mask is that of its image, flips included.

        Raises:
            UserError: The suite does not know.
        """
        raise UserError(no_cameras(type(self).__name__))

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[RawObservation, dict[str, Any]]:
        """Begins `options["item"]`, or an item drawn with the environment's own generator."""
        super().reset(seed=seed)
        item = (options or {}).get("item")
        if item is None:
            item = self.items[int(self.np_random.integers(len(self.items)))]
        if item.perturbation != CLEAN:
            raise UserError(
                f"{item.perturbation}: only `play` perturbs; reset to `item.under('none')`"
            )
        self.step_count = 0
        self.begin(item)
        return self.observe(), {"item": item.digest}

    def step(
        self, action: NDArray[np.float32]
    ) -> tuple[RawObservation, float, bool, bool, dict[str, Any]]:
        """One control step; terminates at the first success, truncates at `max_steps`."""
        success = self.advance(np.asarray(action, dtype=np.float32))
        self.step_count += 1
        truncated = self.step_count >= self.max_steps
        info = {"success": success, **self.status()}
        return self.observe(), float(success), success, truncated, info


class Suite(ABC):
    """A family of tasks in one simulator, its protocol pinned by a card.

    Attributes:
        in_waves: Whether a run plays as many episodes at a time as `--batch` says in the lanes of one
            environment, which `make_wave` makes.
        perturbations: Names of the world's perturbations that its environments know how to `perturb` for.
    """

    in_waves = False
    perturbations: frozenset[str] = frozenset()

    def __init__(self, card: SuiteCard) -> None:
        self.card = card

    @abstractmethod
    def asset_root(self) -> Path:
        """The folder that holds the suite's files, or will."""

    def downloads(self) -> Sequence[Download]:
        """What `vla-bench assets` fetches into the asset root; nothing if the suite makes its own."""
        return ()

    def asset_folders(self) -> Sequence[Path]:
        """Where the downloaded files are that an episode may show or touch."""
        return [self.asset_root() / download.target for download in self.downloads()]

    @abstractmethod
    def prepare(self) -> None:
        """Makes sure that episodes can be played here, making those files that the project can make.

        Raises:
            MissingAssetsError: Files are missing that a user has to download.
            UserError: The simulator cannot run on this machine.
        """

    def knows_world(self, task: str) -> bool:
        """Whether somebody has noted where things stand in a task's world under the pinned engine."""
        return False

    def moved(self, task: str) -> str | None:
        """Says what stands elsewhere in a task's world than it did under the pinned engine.

        Returns:
            One sentence that names the task, or None: nothing does, or `knows_world` is false.
        """
        return None

    @abstractmethod
    def manifest(self, task: str) -> Sequence[InitialState]:
        """The task's initial states: trials x episodes of them, ordered, the same everywhere."""

    @abstractmethod
    def make_env(
        self, task: str, cameras: Sequence[str] | None = None, render_mode: str | None = None
    ) -> SuiteEnv:
        """Builds an environment for one task.

        Args:
            task: Task name.
            cameras: Cameras to render, None for all; with () nothing is ever rendered.
            render_mode: "rgb_array" if `render` will be called, else None.
        """

    def make_wave(
        self, task: str, cameras: Sequence[str] | None = None, render_mode: str | None = None
    ) -> WaveEnv:
        """Builds an environment of one task whose lanes step together; arguments as for `make_env`."""
        raise NotImplementedError(f"{self.card.name} plays no waves")

    def items(
        self,
        task: str,
        *,
        seed: int = 0,
        episodes: int | None = None,
        trials: int | None = None,
    ) -> list[WorkItem]:
        """The work items of one task.

        Args:
            task: Task name.
            seed: The run's seed.
            episodes: Episodes per trial, the first ones of the manifest; None for the card's number.
            trials: Trials; None for the card's number.

        Raises:
            UserError: More episodes or trials are asked for than the protocol has.
        """
        card = self.card
        episodes = card.episodes if episodes is None else episodes
        trials = card.trials if trials is None else trials
        for name, wanted, limit in (
            ("episodes", episodes, card.episodes),
            ("trials", trials, card.trials),
        ):
            if not 1 <= wanted <= limit:
                raise UserError(
                    f"--{name} {wanted}: {card.name} has 1 to {limit} {name}; use --{name} {limit}"
                )
        return make_items(
            suite=card.suite_of(task),
            version=card.version,
            seed=seed,
            task=task,
            instruction=card.tasks[task].instruction,
            manifest=self.manifest(task),
            trials=trials,
            episodes=episodes,
            episodes_per_trial=card.episodes,
        )
