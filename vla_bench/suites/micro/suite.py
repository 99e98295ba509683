"""The toy suite: nothing to download, nothing to write, nothing to render with."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from vla_bench.cards import SuiteCard
from vla_bench.errors import UserError
from vla_bench.items import InitialState
from vla_bench.suites.base import Suite
from vla_bench.suites.micro.env import MicroEnv

TRAIN_STATES = 10_000


class MicroSuite(Suite):
    """A flat kinematic mobile-manipulation world in plain numpy. A toy: never ranked."""

    perturbations = frozenset(
        {"push-base", "push-object", "camera-shift", "lighting", "background"}
    )

    def __init__(self, card: SuiteCard) -> None:
        super().__init__(card)
        _check(card)

    def asset_root(self) -> Path:
        """The package's own folder: the suite has no files."""
        return Path(__file__).parent

    def prepare(self) -> None:
        """Nothing has to be prepared."""

    def manifest(self, task: str) -> Sequence[InitialState]:
        """Numbered draws of the split: trials x episodes of `val`, ten thousand of `train`."""
        split = str(self.card.options["split"])
        count = TRAIN_STATES if split == "train" else self.card.episodes * self.card.trials
        return [{"split": split, "draw": draw} for draw in range(count)]

    def make_env(
        self, task: str, cameras: Sequence[str] | None = None, render_mode: str | None = None
    ) -> MicroEnv:
        """An environment of one task; it draws the chosen cameras only."""
        cameras = list(self.card.cameras) if cameras is None else cameras
        return MicroEnv(self.card, task, self.items(task), cameras, render_mode)


def _check(card: SuiteCard) -> None:
    split = card.options["split"]
    if split not in ("train", "val"):
        raise UserError(f"suite.split={split}: {card.name} has the splits 'val' and 'train'")
    for name, limit in (("push", 1.0), ("slip", 1.0)):
        value = card.options[name]
        if not (isinstance(value, float) and 0 <= value <= limit):
            raise UserError(f"suite.{name}={value}: {card.name} takes 0.0 to {limit}")
