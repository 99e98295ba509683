"""What a plan owes to the visual tokens of the task's objects, layer by layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from vla_bench.errors import UserError
from vla_bench.inspecting.playing import Look, Moment, Played, play_again
from vla_bench.nn import maps
from vla_bench.policies.base import Observation
from vla_bench.policies.diagnostics import Diagnostics
from vla_bench.records import EpisodeRecord
from vla_bench.replay import Stage
from vla_bench.reports.statistics.resampling import Interval
from vla_bench.suites.base import no_cameras

CONTROLS = 8
"""Draws of as many other tokens, whose changes are averaged."""
DRAWS = 4000
ROUNDING = 1e-4
"""A smaller share of a token's pixels is none."""
Changes = NDArray[np.float64]
"""(L+1,): mean squared change of the planned chunk, normalised units, by layer."""
Tokens = NDArray[np.bool_]


@dataclass(frozen=True)
class Trial:
    """One plan, made again with less to see."""

    relevant: Tokens
    """(views, rows, columns): tokens any of whose pixels show an object of the task."""
    control: Tokens
    """As many others: the first draw."""
    by_relevant: Changes
    by_control: Changes
    """Mean over the draws."""


@dataclass(frozen=True)
class Point:
    """A mean over episodes and its 95 % interval."""

    mean: float
    interval: Interval | None
    """Of the bootstrap over episodes; None of a single one."""


@dataclass(frozen=True)
class Layer:
    """What zeroing tokens at one layer changes."""

    layer: int
    relevant: Point
    control: Point
    difference: Point
    """Relevant less control, paired."""


@dataclass(frozen=True)
class Study:
    """The plans of some episodes, made again with tokens zeroed at each layer."""

    episodes: Sequence[tuple[EpisodeRecord, Sequence[Moment[Trial | None]]]]
    """None for plans that are left out: no token is relevant, or more than half of all are."""
    differences: Sequence[str]
    """What went otherwise than recorded."""

    @property
    def trials(self) -> list[list[Trial]]:
        """Those of each episode that has any."""
        found = [[m.shown for m in moments if m.shown] for _, moments in self.episodes]
        return [trials for trials in found if trials]

    @property
    def left_out(self) -> int:
        """Plans without a trial."""
        return sum(m.shown is None for _, moments in self.episodes for m in moments)

    def layers(self) -> list[Layer]:
        """The means over episodes, each episode's being the mean over its plans."""
        relevant = np.stack([np.mean([t.by_relevant for t in e], axis=0) for e in self.trials])
        control = np.stack([np.mean([t.by_control for t in e], axis=0) for e in self.trials])
        kinds = [averaged(values) for values in (relevant, control, relevant - control)]
        return [Layer(layer, *points) for layer, points in enumerate(zip(*kinds, strict=True))]


def study(stage: Stage, records: Sequence[EpisodeRecord], steps: Sequence[int]) -> Study:
    """Zeroes visual tokens at each layer, those of the task's objects or as many others.

    DeepVision-VLA's layer study with masks from the simulator in the place of a detector's; its source
    is not published, so that how tokens are told to be relevant is ours.

    Args:
        stage: The run.
        records: Of the items to play again.
        steps: As in `play_again`.

    Raises:
        UserError: The policy has no visual tokens to zero, the suite does not tell which pixels show the
            task's objects, or they are never in view.
    """
    diagnostics = stage.policy.diagnostics()
    if diagnostics.layers is None:
        name = stage.policy.card.name
        raise UserError(f"{name} has no visual tokens; choose a run of a learned policy that sees")
    episodes, differences = [], list[str]()
    for recorded in records:
        played = _played(stage, recorded, steps, diagnostics)
        episodes.append((recorded, played.moments))
        differences += played.differences
    found = Study(episodes, differences)
    if not found.trials:
        raise UserError(
            "the objects of the task are not in view at any of these steps; give others"
        )
    return found


def _played(
    stage: Stage, recorded: EpisodeRecord, steps: Sequence[int], diagnostics: Diagnostics
) -> Played[Trial | None]:
    env = stage.env(recorded.task)

    def ask(look: Look, observation: Observation) -> Trial | None:
        if len(look.relevant) < len(stage.settings.inputs.images):
            raise UserError(no_cameras(type(env).__name__))
        return trial(diagnostics, look, observation)

    try:
        return play_again(stage, env, recorded, steps, ask)
    finally:
        env.close()


def trial(diagnostics: Diagnostics, look: Look, observation: Observation) -> Trial | None:
    """Makes one plan again; None where there are no tokens to compare."""
    assert diagnostics.layers is not None
    views, rows, columns = diagnostics.grid(observation)
    masks = torch.from_numpy(np.stack(list(look.relevant.values())))
    relevant = maps.shares(masks, rows, columns).numpy() > ROUNDING
    others = np.flatnonzero(~relevant)
    if not 0 < relevant.sum() <= len(others):
        return None
    draw = observation.item.generator(f"control tokens at step {look.step}")
    controls = np.zeros((CONTROLS, views, rows, columns), bool)
    for control in controls:
        control.flat[draw.choice(others, int(relevant.sum()), replace=False)] = True
    tokens = np.stack([np.zeros_like(relevant), relevant, *controls])
    changes = np.array(
        [
            _changes(diagnostics.plan_masked(observation, layer, tokens))
            for layer in range(diagnostics.layers + 1)
        ]
    )
    return Trial(relevant, controls[0], changes[:, 0], changes[:, 1:].mean(1))


def _changes(chunks: NDArray[np.float32]) -> Changes:
    """Mean squared differences of all chunks (n, P, A) from the first, (n-1,)."""
    chunks = chunks.astype(np.float64)
    changes: Changes = ((chunks[1:] - chunks[0]) ** 2).mean((1, 2))
    return changes


def averaged(values: NDArray[np.float64]) -> list[Point]:
    """Means over episodes of (episodes, layers), with percentile intervals of the bootstrap."""
    means = values.mean(0)
    if len(values) < 2:
        return [Point(float(mean), None) for mean in means]
    generator = np.random.default_rng(0)
    drawn = values[generator.integers(len(values), size=(DRAWS, len(values)))].mean(1)
    low, high = np.percentile(drawn, (2.5, 97.5), axis=0)
    return [
        Point(float(mean), (float(least), float(most)))
        for mean, least, most in zip(means, low, high, strict=True)
    ]
