"""Whether the success rates of two runs may be compared, and what else differs between them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vla_bench.reports.measured import MeasuredRun

NEVER_MATTERS = frozenset({"path", "description", "resources"})
"""Fields of a card that change no result."""


@dataclass(frozen=True)
class Differences:
    """What sets two runs apart."""

    refusals: Sequence[str]
    """Why their success rates must not be compared; none if they may be."""
    remarks: Sequence[str]
    """What is being compared (policy, options, horizon), and what should change nothing (hardware)."""

    @property
    def comparable(self) -> bool:
        """Whether success rates on shared items may be compared."""
        return not self.refusals


def differences(first: MeasuredRun, second: MeasuredRun) -> Differences:
    """Compares protocols, engine versions, items and world probes, then policies and machines."""
    return Differences(
        refusals=[
            *_protocols(first, second),
            *_engines(first, second),
            *_mismatches(first, second),
            *_worlds(first, second),
        ],
        remarks=list(_remarks(first, second)),
    )


def shared_items(first: MeasuredRun, second: MeasuredRun) -> list[str]:
    """Digests of the clean items that both runs have recorded, in the order of the first."""
    recorded = [run.clean.index[run.clean["recorded"]] for run in (first, second)]
    return list(recorded[0][recorded[0].isin(recorded[1])])


def _protocols(first: MeasuredRun, second: MeasuredRun) -> Iterator[str]:
    cards = [run.manifest.suite for run in (first, second)]
    if cards[0].name != cards[1].name:
        yield f"suite {cards[0].name} against {cards[1].name}"
        return
    one, other = (card.model_dump() for card in cards)
    yield from (f"suite {line}" for line in _changes(one, other))
    for name in ("delay", "input_control"):
        values = [getattr(run.manifest, name) for run in (first, second)]
        if values[0] != values[1]:
            yield f"{name.replace('_', ' ')} {values[0]} against {values[1]}"


def _engines(first: MeasuredRun, second: MeasuredRun) -> Iterator[str]:
    changes = _changes(first.manifest.engine, second.manifest.engine)
    yield from (f"engine {line}" for line in changes)


def _mismatches(first: MeasuredRun, second: MeasuredRun) -> Iterator[str]:
    for run in (first, second):
        yield from (f"{run.name} allowed a mismatch: {line}" for line in run.manifest.mismatches)


def _worlds(first: MeasuredRun, second: MeasuredRun) -> Iterator[str]:
    shared = shared_items(first, second)
    if not shared:
        yield "no clean item is recorded in both"
        return
    probes = [run.clean["probe"].loc[shared] for run in (first, second)]
    # An episode that broke off before the world had settled has no probe.
    other = (probes[0] != probes[1]) & (probes[0] != "") & (probes[1] != "")
    if other.any():
        yield f"other worlds: the probes differ on {int(other.sum())} of {len(shared)} shared items"


def _remarks(first: MeasuredRun, second: MeasuredRun) -> Iterator[str]:
    one, other = first.manifest, second.manifest
    if one.policy.name != other.policy.name:
        yield f"policy {one.policy.name} against {other.policy.name}"
    yield from (
        f"policy {line}"
        for line in _changes(one.policy.model_dump(), other.policy.model_dump())
        if one.policy.name == other.policy.name
    )
    for name in ("horizon", "batch", "seed"):
        if getattr(one, name) != getattr(other, name):
            yield f"{name} {getattr(one, name)} against {getattr(other, name)}"
    yield from (f"version of {line}" for line in _changes(one.versions, other.versions))
    yield from (f"hardware {line}" for line in _changes(one.hardware, other.hardware))
    counts = [int(run.clean["recorded"].sum()) for run in (first, second)]
    shared = len(shared_items(first, second))
    if counts != [shared, shared]:
        yield f"{counts[0]} and {counts[1]} clean items are recorded, {shared} of them in both"


def _changes(one: Mapping[str, Any], other: Mapping[str, Any], before: str = "") -> Iterator[str]:
    """`name: value against value` for each entry that differs, tables entered."""
    for name in [*one, *(name for name in other if name not in one)]:
        values = one.get(name), other.get(name)
        if values[0] == values[1] or name in NEVER_MATTERS:
            continue
        if isinstance(values[0], Mapping) and isinstance(values[1], Mapping):
            yield from _changes(values[0], values[1], f"{before}{name}.")
        else:
            yield f"{before}{name}: {_said(values[0])} against {_said(values[1])}"


def _said(value: object) -> str:
    return "nothing" if value is None else str(value)
