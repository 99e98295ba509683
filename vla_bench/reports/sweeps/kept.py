"""A finished sweep in one small file, from which its report can be made again without its runs."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import (
    BaseModel,
    ConfigDict,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
)

from vla_bench.cards import SuiteCard
from vla_bench.errors import UserError
from vla_bench.items import WorkItem, digest
from vla_bench.records import EpisodeRecord, RunFolder
from vla_bench.reports.sweeps.trained_weights import TrainedWeights, weights_of
from vla_bench.sweeps.card import Sweep, Value
from vla_bench.sweeps.looking import look
from vla_bench.sweeps.points import Point, SweepPlan

KEPT = Path("results") / "sweeps"
"""Where finished sweeps are kept."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Attention(_Part):
    """How a policy looks at the objects of the task as each item begins."""

    mass: list[float | None]
    """Share of its map that lies on them, by item; None where none is in view."""
    even: float
    """Mean share of the images that they cover."""


class PlayedRun(_Part):
    """What came of one run, episode by episode in the order of the sweep's items."""

    name: str
    """Name of its folder."""
    records: str
    """Digest of its `episodes.jsonl`: the first 16 hex digits of SHA-256."""
    success: str
    """A digit per item: 1 for a success."""
    collided: str
    """A digit per item: 1 for a collision; empty where the suite does not say."""
    first_success: list[int | None]
    """Control steps to the first success of each item."""
    queries: int
    """How often the policy planned."""
    policy_s: float
    """Wall-clock time in the policy (s)."""
    policy_errors: int
    harness_errors: int
    attention: Attention | None = None
    """Left out where the sweep does not measure it."""

    @model_serializer(mode="wrap")
    def _without_nothing(self, made: SerializerFunctionWrapHandler) -> dict[str, Any]:
        fields: dict[str, Any] = made(self)
        return fields if self.attention else {k: v for k, v in fields.items() if k != "attention"}


class PlayedPoint(_Part):
    """One arm at one value of the swept option."""

    label: str
    """The arm's label."""
    value: Value | None
    """None for a reference arm."""
    policy: str
    """Name of the policy."""
    horizon: int
    """Execution horizon."""
    batch: int
    """Episodes planned together."""
    weights: TrainedWeights | None
    """The first training's weights; None for a policy without any."""
    runs: list[PlayedRun]
    """One per training."""


class KeptSweep(_Part):
    """All that a sweep's report is made from, but the words and claims of its card."""

    played: str
    """Digest of what the card says is to be played."""
    command: str
    """The command that played it."""
    suite: SuiteCard
    """The suite's card."""
    tasks: list[str]
    """Task of each item."""
    items: list[str]
    """Digest of each item."""
    hardware: dict[str, str | int]
    """Machine that the first point was played on."""
    points: list[PlayedPoint]
    """In the order of the card."""

    @property
    def digest(self) -> str:
        """Digest of all of it."""
        return digest(self.model_dump(mode="json"))


def keep(plan: SweepPlan, command: str) -> KeptSweep:
    """Reads the run folders of a finished sweep and writes what came of it to `results/sweeps/`.

    Raises:
        UserError: A run is missing or not finished.
    """
    groups: dict[str, list[Point]] = {}
    for point in plan.points:
        groups.setdefault(point.place, []).append(point)
    kept = KeptSweep(
        played=plan.sweep.played,
        command=command,
        suite=plan.suite.portable(),
        tasks=[item.task for item in plan.items],
        items=[item.digest for item in plan.items],
        hardware=RunFolder(plan.points[0].folder).manifest.hardware,
        points=[_point(points, plan.items) for points in groups.values()],
    )
    path = KEPT / f"{plan.sweep.name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(kept.model_dump_json() + "\n")
    return kept


def read_kept(sweep: Sweep) -> KeptSweep:
    """Reads what was kept of a sweep.

    Raises:
        UserError: It has not been played, or its card asks for something else by now.
    """
    path = KEPT / f"{sweep.name}.json"
    command = f"`vla-bench sweep {sweep.name}`"
    if not path.is_file():
        raise UserError(f"no {path}: the sweep has not been played here; run {command}")
    try:
        kept = KeptSweep.model_validate_json(path.read_text())
    except ValidationError as error:
        problem = error.errors()[0]
        where = ".".join(map(str, problem["loc"]))
        raise UserError(f"{path}: {where}: {problem['msg']}; run {command}") from None
    if kept.played != sweep.played:
        raise UserError(
            f"{path} is of another sweep than {sweep.name}.toml asks for by now; run {command}"
        )
    return kept


def _point(points: Sequence[Point], items: Sequence[WorkItem]) -> PlayedPoint:
    first = RunFolder(points[0].folder).manifest
    return PlayedPoint(
        label=points[0].arm.label,
        value=points[0].value,
        policy=first.policy.name,
        horizon=first.horizon,
        batch=first.batch,
        weights=weights_of(first),
        runs=[_run(point, items) for point in points],
    )


def _run(point: Point, items: Sequence[WorkItem]) -> PlayedRun:
    folder = RunFolder(point.folder)
    found = {record.item: record for record in folder.records()}
    missing = sum(item.digest not in found for item in items)
    if missing:
        raise UserError(
            f"{point.name}: {missing} of {len(items)} episodes are missing; sweep again"
        )
    records = [found[item.digest] for item in items]
    reasons = [record.reason for record in records]
    return PlayedRun(
        name=folder.path.name,
        records=hashlib.sha256(folder.episodes.read_bytes()).hexdigest()[:16],
        success=_digits([record.success for record in records]),
        collided=_collided(records),
        first_success=[record.first_success for record in records],
        queries=sum(record.queries for record in records),
        policy_s=sum(record.policy_s for record in records),
        policy_errors=reasons.count("policy_error"),
        harness_errors=reasons.count("harness_error"),
        attention=_attention(point, items) if point.sweep.attention else None,
    )


def _attention(point: Point, items: Sequence[WorkItem]) -> Attention:
    looks = look(point.folder, point.sweep.attention)
    return Attention(
        mass=[None if (m := looks.mass[item.digest]) is None else round(m, 6) for item in items],
        even=round(sum(looks.even[item.digest] for item in items) / len(items), 6),
    )


def _collided(records: Sequence[EpisodeRecord]) -> str:
    """A harness error says nothing about collisions and counts as an episode without one."""
    said: Sequence[Mapping[str, float]] = [record.status for record in records]
    if not any("collided" in status for status in said):
        return ""
    return _digits([bool(status.get("collided", 0)) for status in said])


def _digits(yes: Sequence[bool]) -> str:
    return "".join("01"[one] for one in yes)
