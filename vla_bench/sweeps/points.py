"""Points of a sweep: one run each, and the weights that they share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from vla_bench.cards import SuiteCard
from vla_bench.items import WorkItem
from vla_bench.runs import RunSpec
from vla_bench.sweeps.card import Arm, Sweep, Value, place

if TYPE_CHECKING:  # torch is an extra
    from vla_bench.policies.learned.recipe import Recipe

RUNS = Path("results") / "runs" / "sweeps"
WEIGHTS = Path("results") / "weights" / "sweeps"
SUITE = "suite."


@dataclass(frozen=True)
class Training:
    """Weights that a point plays; sweeps share them, for they are named by their recipe's digest."""

    recipe: Recipe
    """The recipe, its training seed included."""

    @property
    def out(self) -> Path:
        """Checkpoint folder."""
        recipe = self.recipe
        return WEIGHTS / f"{recipe.name}-s{recipe.training.seed}-{recipe.digest[:8]}"


@dataclass
class Choices:
    """The settings of a point, by who reads them."""

    run: dict[str, int] = field(default_factory=dict)
    policy: dict[str, str] = field(default_factory=dict)
    suite: dict[str, str] = field(default_factory=dict)
    recipe: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Point:
    """One run: an arm at one value of the swept option, with the weights of one training seed."""

    sweep: Sweep
    arm: Arm
    value: Value | None
    """None for a reference arm."""
    choices: Choices
    training: Training | None
    """None for weights that are not trained here."""
    identity: str
    """Digest of everything that the run depends on but its items."""

    @property
    def place(self) -> str:
        """Arm and value, without the training seed."""
        return place(self.arm.label, self.value)

    @property
    def name(self) -> str:
        """What progress lines and errors call it."""
        seed = f", training seed {self.training.recipe.training.seed}" if self.training else ""
        return f"{self.sweep.name}: {self.place}{seed}"

    @property
    def folder(self) -> Path:
        """Run folder. Points of other sweeps that are the same run share it, and it is played once."""
        run, training = self.choices.run, self.training
        parts = [Path(self.arm.policy).stem, Path(self.sweep.suite).stem]
        parts += [f"h{run['horizon']}"] if "horizon" in run else []
        parts += [f"d{run['delay']}"] if "delay" in run else []
        parts += [f"s{training.recipe.training.seed}"] if training else []
        return RUNS / "-".join([*parts, self.identity])

    @property
    def spec(self) -> RunSpec:
        """The run."""
        sweep, run = self.sweep, self.choices.run
        return RunSpec(
            policy=self.arm.policy,
            suite=sweep.suite,
            tasks=sweep.tasks,
            episodes=sweep.episodes,
            trials=sweep.trials,
            seed=sweep.seed,
            horizon=run.get("horizon"),
            batch=run.get("batch", sweep.batch),
            delay=run.get("delay", 0),
            weights=str(self.training.out) if self.training else None,
            options={
                **self.choices.policy,
                **{SUITE + name: value for name, value in self.choices.suite.items()},
            },
            out=self.folder,
        )


@dataclass(frozen=True)
class SweepPlan:
    """A sweep that has been checked and can start."""

    sweep: Sweep
    suite: SuiteCard
    points: Sequence[Point]
    items: Sequence[WorkItem]
    """The items of every point."""
