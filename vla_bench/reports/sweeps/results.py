"""What came of a sweep, point by point: computed from the records of its runs and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np

from vla_bench.cards import SuiteCard
from vla_bench.errors import UserError
from vla_bench.items import WorkItem
from vla_bench.records import EpisodeRecord, RunFolder, RunManifest
from vla_bench.reports.statistics.intervals import wilson
from vla_bench.reports.statistics.resampling import Interval, Outcomes, Resampling, discordant
from vla_bench.sweeps.card import Arm, Claim, Sweep, Value, place
from vla_bench.sweeps.points import Point, SweepPlan


@dataclass(frozen=True)
class PointResult:
    """One arm at one value: its runs with the weights of each training."""

    arm: Arm
    value: Value | None
    manifest: RunManifest
    """Of the first training's run."""
    folders: Sequence[Path]
    """Run folder of each training."""
    trainings: Sequence[Sequence[EpisodeRecord]]
    """Records of each training, in the order of the sweep's items."""

    @property
    def name(self) -> str:
        """`label@value`."""
        return place(self.arm.label, self.value)

    @cached_property
    def outcomes(self) -> Outcomes:
        """Success of each training on each item."""
        return np.array([[r.success for r in records] for records in self.trainings], np.bool_)

    @property
    def records(self) -> list[EpisodeRecord]:
        """All records."""
        return [record for records in self.trainings for record in records]

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
        return float(np.mean([r.success for r in self.records if r.task == task]))

    @property
    def collided(self) -> float | None:
        """Fraction of episodes with a collision; None where the suite does not say."""
        known = [r.status["collided"] for r in self.records if "collided" in r.status]
        return float(np.mean(known)) if known else None

    @property
    def steps_to_success(self) -> float | None:
        """Mean control steps to the first success, over successful episodes."""
        steps = [r.first_success for r in self.records if r.success and r.first_success is not None]
        return float(np.mean(steps)) if steps else None

    @property
    def queries_per_s(self) -> float | None:
        """Queries per second of time in the policy, its corrections included."""
        seconds = sum(r.policy_s for r in self.records)
        return sum(r.queries for r in self.records) / seconds if seconds > 0 else None

    def count(self, reason: Literal["policy_error", "harness_error"]) -> int:
        """Episodes that ended so."""
        return sum(record.reason == reason for record in self.records)


@dataclass(frozen=True)
class Verdict:
    """A claim held against the numbers."""

    claim: Claim
    value: float
    """The claim's sum of success rates."""
    interval: Interval
    """Its 95 % interval."""

    @property
    def word(self) -> Literal["seen", "not seen", "undecided"]:
        """`seen` and `not seen` only where the whole interval says so."""
        low, high = self.interval
        if low > -self.claim.margin:
            return "seen"
        return "not seen" if high < -self.claim.margin else "undecided"


class SweepResults:
    """A finished sweep.

    Args:
        plan: The sweep.
        points: What came of its points, in its order.
    """

    def __init__(self, plan: SweepPlan, points: Sequence[PointResult]) -> None:
        self.sweep: Sweep = plan.sweep
        self.suite: SuiteCard = plan.suite
        self.items: Sequence[WorkItem] = plan.items
        self.points = points
        trainings = max(len(point.trainings) for point in points)
        self.resampling = Resampling(trainings, len(plan.items))

    @property
    def tasks(self) -> list[str]:
        """The tasks that were played."""
        return list(dict.fromkeys(item.task for item in self.items))

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
        outcomes = {point.name: point.outcomes for point in self.points}
        terms = [(1, outcomes[name]) for name in claim.plus]
        terms += [(-1, outcomes[name]) for name in claim.minus]
        return Verdict(claim, *self.resampling.contrast(terms))


def read_results(plan: SweepPlan) -> SweepResults:
    """Reads the run folders of a sweep.

    Raises:
        UserError: A run is missing or not finished.
    """
    groups: dict[str, list[Point]] = {}
    for point in plan.points:
        groups.setdefault(point.place, []).append(point)
    return SweepResults(plan, [_result(points, plan.items) for points in groups.values()])


def _result(points: Sequence[Point], items: Sequence[WorkItem]) -> PointResult:
    arm, value = points[0].arm, points[0].value
    records = [_records(point, items) for point in points]
    folders = [point.folder for point in points]
    return PointResult(arm, value, RunFolder(folders[0]).manifest, folders, records)


def _records(point: Point, items: Sequence[WorkItem]) -> list[EpisodeRecord]:
    found = {record.item: record for record in RunFolder(point.folder).records()}
    missing = sum(item.digest not in found for item in items)
    if missing:
        raise UserError(
            f"{point.name}: {missing} of {len(items)} episodes are missing; sweep again"
        )
    return [found[item.digest] for item in items]
