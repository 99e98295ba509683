"""What came of a sweep, point by point: computed from what was kept of its runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np

from vla_bench.cards import SuiteCard
from vla_bench.reports.statistics.intervals import wilson
from vla_bench.reports.statistics.resampling import (
    Interval,
    Outcomes,
    Resampling,
    Values,
    discordant,
)
from vla_bench.reports.sweeps.kept import KeptSweep, PlayedPoint, PlayedRun
from vla_bench.sweeps.card import Arm, Claim, Measure, Sweep, Value, place


@dataclass(frozen=True)
class PointResult:
    """One arm at one value: what came of its run with the weights of each training."""

    arm: Arm
    played: PlayedPoint
    tasks: Sequence[str]
    """Task of each item."""

    @property
    def value(self) -> Value | None:
        """Value of the swept option; None for a reference arm."""
        return self.played.value

    @property
    def trainings(self) -> Sequence[PlayedRun]:
        """What came of each training's run."""
        return self.played.runs

    @property
    def name(self) -> str:
        """`label@value`."""
        return place(self.arm.label, self.value)

    @cached_property
    def outcomes(self) -> Outcomes:
        """Success of each training on each item."""
        return _digits([run.success for run in self.trainings])

    @property
    def successes(self) -> int:
        """Successful episodes of all trainings."""
        return int(self.outcomes.sum())

    @property
    def episodes(self) -> int:
        """Episodes of all trainings, harness errors included."""
        return int(self.outcomes.size)

    @property
    def rate(self) -> float:
        """Success rate over all episodes."""
        return self.successes / self.episodes

    @property
    def wilson(self) -> Interval:
        """95 % Wilson interval that takes every episode for an item of its own."""
        return wilson(self.successes, self.episodes)

    @property
    def spread(self) -> Interval:
        """Lowest and highest success rate of a training."""
        rates = self.outcomes.mean(1)
        return float(rates.min()), float(rates.max())

    def task_rate(self, task: str) -> float:
        """Success rate on one task."""
        return float(self.outcomes[:, [name == task for name in self.tasks]].mean())

    @property
    def collided(self) -> float | None:
        """Fraction of episodes with a collision; None where the suite does not say."""
        known = [run.collided for run in self.trainings]
        return float(_digits(known).mean()) if all(known) else None

    @cached_property
    def steps(self) -> Values:
        """Control steps to the first success of each training on each item; nan without one."""
        rows = [
            [
                float(first) if success == "1" and first is not None else np.nan
                for success, first in zip(run.success, run.first_success, strict=True)
            ]
            for run in self.trainings
        ]
        return np.array(rows)

    @property
    def steps_to_success(self) -> float | None:
        """Mean control steps to the first success, over successful episodes."""
        return None if np.isnan(self.steps).all() else float(np.nanmean(self.steps))

    @cached_property
    def attention(self) -> Values:
        """Share of attention on the objects of each training on each item; nan where it is not known."""
        known = [run.attention.mass if run.attention else [None] for run in self.trainings]
        return np.array([[np.nan if m is None else m for m in masses] for masses in known])

    @property
    def attention_on_objects(self) -> float | None:
        """Mean share of attention on the objects of the task; None where it was not measured."""
        return None if np.isnan(self.attention).all() else float(np.nanmean(self.attention))

    def values_of(self, measure: Measure) -> Values:
        """Numbers by training and item, of which a measure that is no rate is the mean."""
        return self.attention if measure == "attention" else self.steps

    @property
    def queries_per_s(self) -> float | None:
        """Queries per second of time in the policy, its corrections included."""
        seconds = sum(run.policy_s for run in self.trainings)
        return sum(run.queries for run in self.trainings) / seconds if seconds > 0 else None

    @property
    def errors(self) -> tuple[int, int]:
        """Episodes that ended in an error of the policy, and in one of the harness."""
        runs = self.trainings
        return sum(run.policy_errors for run in runs), sum(run.harness_errors for run in runs)


def _digits(rows: Sequence[str]) -> Outcomes:
    return np.array([[digit == "1" for digit in row] for row in rows], np.bool_)


@dataclass(frozen=True)
class Verdict:
    """A claim held against the numbers."""

    claim: Claim
    value: float
    """The claim's sum of what it measures; nan where a point has nothing to measure."""
    interval: Interval
    """Its 95 % interval."""

    @property
    def word(self) -> Literal["seen", "not seen", "undecided"]:
        """`seen` and `not seen` only where the whole interval says so; nan says nothing."""
        low, high = self.interval
        if low > -self.claim.margin:
            return "seen"
        return "not seen" if high < -self.claim.margin else "undecided"


class SweepResults:
    """A finished sweep.

    Args:
        sweep: Its card.
        kept: What came of it.
    """

    def __init__(self, sweep: Sweep, kept: KeptSweep) -> None:
        self.sweep, self.kept = sweep, kept
        self.suite: SuiteCard = kept.suite
        arms = {arm.label: arm for arm in sweep.arms}
        self.points = [PointResult(arms[p.label], p, kept.tasks) for p in kept.points]
        trainings = max(len(point.trainings) for point in self.points)
        self.resampling = Resampling(trainings, len(kept.items))

    @property
    def tasks(self) -> list[str]:
        """The tasks that were played."""
        return list(dict.fromkeys(self.kept.tasks))

    @property
    def world(self) -> str:
        """What a reader has to be warned of: a toy, or a mini world."""
        if not self.suite.engine:
            return "toy"
        return "mini world" if self.suite.track == "mini" else ""

    def of_arm(self, arm: Arm) -> list[PointResult]:
        """The points of one arm."""
        return [point for point in self.points if point.arm.label == arm.label]

    def interval(self, point: PointResult) -> Interval:
        """95 % interval of a point's rate, over trainings and items."""
        return self.resampling.interval(point.outcomes)

    def mean(self, point: PointResult, measure: Measure) -> tuple[float, Interval]:
        """Mean of a measure that is no rate, with its 95 % interval over trainings and items."""
        return self.resampling.contrast_of_means([(1, point.values_of(measure))])

    def against_first(self, point: PointResult) -> tuple[int, int] | None:
        """Discordant episodes of a point and the first arm's at the same value; None without one."""
        first = self.points[0].arm
        if point.arm.label == first.label:
            return None
        same = [p for p in self.of_arm(first) if p.value == point.value]
        return discordant(point.outcomes, same[0].outcomes) if same else None

    def change(self, first: PointResult, second: PointResult) -> tuple[float, Interval]:
        """How the rate changes from one point to another, with its 95 % interval."""
        return self.resampling.contrast([(1, second.outcomes), (-1, first.outcomes)])

    def verdict(self, claim: Claim) -> Verdict:
        """What the numbers say of a claim."""
        points = {point.name: point for point in self.points}
        terms = [(1, points[name]) for name in claim.plus]
        terms += [(-1, points[name]) for name in claim.minus]
        if claim.measure != "success":
            values = [(sign, point.values_of(claim.measure)) for sign, point in terms]
            return Verdict(claim, *self.resampling.contrast_of_means(values))
        outcomes = [(sign, point.outcomes) for sign, point in terms]
        return Verdict(claim, *self.resampling.contrast(outcomes))
