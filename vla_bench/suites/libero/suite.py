"""LIBERO as a suite: finds the files, lists the initial states, makes environments."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

from platformdirs import user_cache_path

from vla_bench.assets import Download
from vla_bench.cards import SuiteCard
from vla_bench.errors import MissingAssetsError, UserError, first_line, nearest
from vla_bench.items import InitialState
from vla_bench.suites.base import Suite
from vla_bench.suites.libero import opengl
from vla_bench.suites.libero.files import goal_file, states_of
from vla_bench.suites.libero.golden import Positions, golden
from vla_bench.suites.libero.upstream import package_root

if TYPE_CHECKING:
    # These need the simulator, and the core lists suites without any.
    from vla_bench.suites.libero.env import LiberoEnv
    from vla_bench.suites.libero.world import LiberoWorld

ASSETS = "VLA_BENCH_LIBERO_ASSETS"
DOWNLOAD = Download(
    name="LIBERO's assets",
    repository="lerobot/libero-assets",
    target=Path(),
    licence="stated on the page; LIBERO's own data are CC-BY-4.0",
)
FOLDERS = (
    "articulated_objects",
    "scenes",
    "stable_hope_objects",
    "stable_scanned_objects",
    "textures",
    "turbosquid_objects",
)
"""What the folder of assets consists of."""
TRAIN_STATES = 10_000
CHOICES = {
    "split": ("val", "train"),
    "resize": ("none", "pad", "jpeg-lanczos"),
    "rotation": ("continuous", "shortest"),
    "gripper": ("sign", "binary"),
}
"""Values of the options that are names."""


class LiberoSuite(Suite):
    """One of LIBERO's suites, or several of them together."""

    perturbations = frozenset({"push-object", "camera-shift", "lighting", "background"})

    def __init__(self, card: SuiteCard) -> None:
        super().__init__(card)
        _check(card)

    def asset_root(self) -> Path:
        """$VLA_BENCH_LIBERO_ASSETS, or where `vla-bench assets` puts them."""
        chosen = os.environ.get(ASSETS)
        return Path(chosen).absolute() if chosen else user_cache_path("vla-bench") / "libero-assets"

    def downloads(self) -> Sequence[Download]:
        """Meshes and textures; goals and initial states come with the package hf-libero."""
        return (DOWNLOAD,)

    def asset_folders(self) -> Sequence[Path]:
        """The folders of assets, without what else lies beside them."""
        return [self.asset_root() / name for name in FOLDERS]

    def prepare(self) -> None:
        """Checks the package, the assets and the renderer."""
        package_root()
        missing = [name for name in FOLDERS if not (self.asset_root() / name).is_dir()]
        if missing:
            raise MissingAssetsError(
                f"{self.card.name} needs LIBERO's assets in {self.asset_root()}, which lacks "
                f"{', '.join(missing)}; run `vla-bench assets {self.card.name}`, or set ${ASSETS} to a "
                "folder that holds them"
            )
        opengl.probe()

    def manifest(self, task: str) -> Sequence[InitialState]:
        """Numbered rows of the task's file of initial states; of `train` numbered draws."""
        protocol = str(self.card.options["protocol"])
        if self.card.options["split"] == "train":
            return [{"draw": number, "protocol": protocol} for number in range(TRAIN_STATES)]
        count = self.card.episodes * self.card.trials
        found = len(states_of(self.card.tasks[task]))
        if found < count:
            raise UserError(f"{task} has {found} initial states, {self.card.name} needs {count}")
        return [{"state": number, "protocol": protocol} for number in range(count)]

    def make_env(
        self, task: str, cameras: Sequence[str] | None = None, render_mode: str | None = None
    ) -> LiberoEnv:
        """An environment of one task; it draws the chosen cameras only."""
        opengl.choose()
        from vla_bench.suites.libero.env import LiberoEnv

        cameras = list(self.card.cameras) if cameras is None else cameras
        world = self._world(task, draws=bool(cameras) or render_mode is not None)
        return LiberoEnv(self.card, task, self.items(task), world, cameras, render_mode)

    def knows_world(self, task: str) -> bool:
        """Whether there is a golden world of the task; of `train` there is none."""
        return self.card.options["split"] == "val" and golden(self.card.suite_of(task)) is not None

    def moved(self, task: str) -> str | None:
        """Settles the task's first episode and compares it with its golden world."""
        if not self.knows_world(task):
            return None
        known = golden(self.card.suite_of(task))
        assert known is not None
        [(_, _, positions)] = self.settled(task, episodes=1)
        moved = known.tasks[task].moved(0, positions)
        pinned = ", ".join(f"{name} {version}" for name, version in known.engine.items())
        return f"{task}: {moved} with {pinned}" if moved else None

    def settled(self, task: str, episodes: int | None = None) -> list[tuple[int, str, Positions]]:
        """Begins episodes of seed 0 and plays none.

        Args:
            task: Name of the task.
            episodes: How many, the first ones; None for all.

        Returns:
            Seed, world probe, and the positions of objects and fixtures, of each.
        """
        env = self.make_env(task, cameras=())
        found: list[tuple[int, str, Positions]] = []
        for item in self.items(task, seed=0, episodes=episodes, trials=1):
            env.begin(item)
            found.append((item.seed, env.world_probe(), env.world.positions()))
        env.close()
        return found

    def _world(self, task: str, draws: bool) -> LiberoWorld:
        from vla_bench.suites.libero.env import CAMERAS
        from vla_bench.suites.libero.world import LiberoWorld, Savings

        options, size = self.card.options, cast(int, self.card.options["render_size"])
        savings = Savings(**{name: bool(options[name]) for name in Savings.__annotations__})
        goal = goal_file(self.card.tasks[task])
        cameras = CAMERAS if draws else {}
        try:
            return LiberoWorld(
                goal, self.asset_root(), cameras, (size, size), savings, options["split"] == "train"
            )
        except (OSError, ValueError) as error:
            raise MissingAssetsError(
                f"{task} cannot be built from {self.asset_root()} ({first_line(error)}); run "
                f"`vla-bench assets {self.card.name}`"
            ) from None


def _check(card: SuiteCard) -> None:
    for option, known in CHOICES.items():
        value = str(card.options[option])
        if value not in known:
            raise UserError(f"suite.{option}={value}: {nearest(value, known)}")
    size = card.options["render_size"]
    if card.options["resize"] == "none" and any(s != (size, size) for s in card.cameras.values()):
        raise UserError(
            f"suite.render_size={size} without suite.resize: the cameras of {card.name} are "
            f"{next(iter(card.cameras.values()))}"
        )
