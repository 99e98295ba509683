"""MS-HAB as a suite: finds the files, lists the initial states, makes environments."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import cast

from filelock import FileLock
from platformdirs import user_cache_path

from vla_bench.assets import Download
from vla_bench.cards import SuiteCard
from vla_bench.errors import UserError
from vla_bench.items import InitialState
from vla_bench.suites.base import Suite
from vla_bench.suites.cuda import require_cuda
from vla_bench.suites.ms_hab.dataset import REPLICA_CAD, YCB, Dataset, Split, Subtask
from vla_bench.suites.ms_hab.mini import MINI_WORLD_VERSION, write_mini_world
from vla_bench.suites.ms_hab.scene import Physics
from vla_bench.suites.ms_hab.wave import MsHabWave
from vla_bench.suites.vulkan import require_vulkan
from vla_bench.suites.wave import LaneEnv

DOWNLOADS = (
    Download(
        name="ReplicaCAD",
        repository="haosulab/ReplicaCAD",
        target=REPLICA_CAD,
        licence="CC-BY-4.0",
    ),
    Download(
        name="ReplicaCADRearrange",
        repository="haosulab/ReplicaCADRearrange",
        target=REPLICA_CAD / "rearrange",
        licence="stated on the page",
        archive="rearrange.zip",
    ),
    Download(
        name="YCB",
        repository="haosulab/ManiSkill2",
        target=YCB,
        licence="stated on the page",
        archive="data/mani_skill2_ycb.zip",
    ),
)


class MsHabSuite(Suite):
    """The SetTable tasks of ManiSkill-HAB, in the real apartments or in the project's mini ones."""

    perturbations = frozenset(
        {"push-base", "push-object", "camera-shift", "lighting", "background"}
    )

    def __init__(self, card: SuiteCard) -> None:
        super().__init__(card)
        self.dataset = Dataset(self.asset_root(), _split(card))
        self.physics = _physics(card)
        self.in_waves = self.physics == "gpu"
        if self.in_waves:
            self.perturbations = frozenset()

    def asset_root(self) -> Path:
        """The mini world's cache, or ManiSkill's asset folder ($MS_ASSET_DIR)."""
        if self.card.track == "mini":
            return user_cache_path("vla-bench") / f"ms-hab-mini-{MINI_WORLD_VERSION}"
        return Path(os.environ.get("MS_ASSET_DIR", Path.home() / ".maniskill"))

    def downloads(self) -> Sequence[Download]:
        """ReplicaCAD, its rearrange episodes, and the YCB objects; nothing for the mini world."""
        return () if self.card.track == "mini" else DOWNLOADS

    def prepare(self) -> None:
        """Writes the mini world if it is not there yet; checks the files, the GPU and the renderer."""
        if self.physics == "gpu":
            require_cuda(self.card.name)
        if self.card.track == "mini":
            self._write_mini_world()
        self.dataset.check()
        require_vulkan()

    def _write_mini_world(self) -> None:
        root = self.asset_root()
        root.mkdir(parents=True, exist_ok=True)
        with FileLock(root / ".lock"):
            write_mini_world(root)

    def manifest(self, task: str) -> Sequence[InitialState]:
        """(scene, plan uid, spawn index) triples; scenes take turns."""
        subtask, target = self._parameters(task)
        count = self.card.episodes * self.card.trials
        return self.dataset.initial_states(subtask, target, count)

    def make_env(
        self, task: str, cameras: Sequence[str] | None = None, render_mode: str | None = None
    ) -> LaneEnv:
        """A single lane; it builds an apartment for every item."""
        return LaneEnv(self.make_wave(task, cameras, render_mode))

    def make_wave(
        self, task: str, cameras: Sequence[str] | None = None, render_mode: str | None = None
    ) -> MsHabWave:
        """Lanes of one task; they build an apartment for every item. CPU physics have one lane."""
        subtask, target = self._parameters(task)
        return MsHabWave(
            self.card,
            self.dataset,
            {plan.uid: plan for plan in self.dataset.plans(subtask, target)},
            self.items(task),
            list(self.card.cameras) if cameras is None else cameras,
            render_mode,
            self.physics,
        )

    def _parameters(self, task: str) -> tuple[Subtask, str]:
        parameters = self.card.tasks[task].parameters
        return cast(Subtask, parameters["subtask"]), parameters["target"]


def _split(card: SuiteCard) -> Split:
    split = card.options["split"]
    if split not in ("train", "val"):
        raise UserError(f"suite.split={split}: {card.name} has the splits 'val' and 'train'")
    return cast(Split, split)


def _physics(card: SuiteCard) -> Physics:
    """Where physics run. The two are tracks of their own, so that a card cannot be moved to the other."""
    if "physics" not in card.options:
        return "cpu"
    if card.options["physics"] != "gpu":
        raise UserError(
            f"suite.physics={card.options['physics']}: {card.name} is played on a GPU only; "
            f"for physics on the CPU use --suite {card.name.removesuffix('-gpu')}"
        )
    return "gpu"
