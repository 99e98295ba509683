"""Whether the success rates of two runs may be compared, and what else differs between them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import Any

import numpy as np
from scipy.stats import fisher_exact

from vla_bench.cards import PolicyCard, SuiteCard
from vla_bench.items import digest
from vla_bench.records import RunManifest
from vla_bench.reports.measured import MeasuredRun

NEVER_MATTERS = frozenset({"path", "description", "resources"})
"""Fields of a card that change no result."""
OF_NO_ITEM = frozenset({"name", "episodes", "trials", "protocols", "engine", "max_steps", "tasks"})
"""Fields of a suite's card that say nothing about a given item, or are looked at by themselves."""
CHANCE = 0.05
"""Largest p-value at which missing episodes are said to be missing for a reason."""


@dataclass(frozen=True)
class Differences:
    """What sets two runs apart."""

    refusals: Sequence[str]
    """Why their success rates must not be compared; none if they may be."""
    warnings: Sequence[str]
    """What may mislead a comparison: harness errors, missing episodes, privileged inputs of one alone."""
    remarks: Sequence[str]
    """What is being compared (policy, options, horizon), and what should change nothing (hardware)."""

    @property
    def comparable(self) -> bool:
        """Whether success rates on shared items may be compared."""
        return not self.refusals


def protocol_digest(manifest: RunManifest) -> str:
    """Runs of the same items with the same one may be compared: suite's card, engine and assets."""
    card = manifest.suite.model_dump(mode="json", exclude=set(NEVER_MATTERS))
    return digest([card, manifest.engine, manifest.assets])


def differences(first: MeasuredRun, second: MeasuredRun) -> Differences:
    """Compares protocols, engine versions, items and world probes, then policies and machines."""
    shared = shared_items(first, second)
    return Differences(
        refusals=[
            *_protocols(first, second, shared),
            *_engines(first, second),
            *_assets(first, second),
            *_mismatches(first, second),
            *_worlds(first, second, shared),
        ],
        warnings=[
            *_harness_errors(first, second, shared),
            *_unfinished(first, second),
            *_privileged(first, second),
        ],
        remarks=list(_remarks(first, second, shared)),
    )


def shared_items(first: MeasuredRun, second: MeasuredRun) -> list[str]:
    """Digests of the clean items that both runs have recorded, in the order of the first."""
    recorded = [run.clean.index[run.clean["recorded"]] for run in (first, second)]
    return list(recorded[0][recorded[0].isin(recorded[1])])


def _protocols(first: MeasuredRun, second: MeasuredRun, shared: list[str]) -> Iterator[str]:
    one, other = first.manifest, second.manifest
    if one.suite.name != other.suite.name and not shared:
        yield f"suite {one.suite.name} against {other.suite.name}"
        return
    if one.suite.digest != other.suite.digest:
        yield from (
            f"suite {line}"
            for line in changed_entries(_of_items(one.suite), _of_items(other.suite))
        )
        yield from _tasks(one.suite, other.suite, first.manifest.items.keys() & other.items.keys())
    for name in ("seed", "delay", "input_control"):
        values = [getattr(manifest, name) for manifest in (one, other)]
        if values[0] != values[1]:
            yield f"{name.replace('_', ' ')} {values[0]} against {values[1]}"


def _of_items(card: SuiteCard) -> dict[str, Any]:
    return card.model_dump(exclude=set(OF_NO_ITEM | NEVER_MATTERS))


def _tasks(one: SuiteCard, other: SuiteCard, played: set[str]) -> Iterator[str]:
    """One line for the tasks that both runs have played and that their cards declare otherwise."""
    changes = [
        f"{task} {line}"
        for task in one.tasks
        if task in played
        for line in changed_entries(
            {"steps": one.steps_of(task), "parameters": one.tasks[task].parameters},
            {"steps": other.steps_of(task), "parameters": other.tasks[task].parameters},
        )
    ]
    if changes:
        rest = f", and {len(changes) - 1} more in the tasks" if len(changes) > 1 else ""
        yield f"task {changes[0]}{rest}"


def _engines(first: MeasuredRun, second: MeasuredRun) -> Iterator[str]:
    one, other = first.manifest, second.manifest
    pinned = _pinned(first, second)
    # The simulators of two families of suites have nothing in common.
    if one.suite.adapter == other.suite.adapter:
        installed = [{name: m.versions.get(name) for name in pinned} for m in (one, other)]
        yield from (f"engine {line}" for line in changed_entries(installed[0], installed[1]))


def _pinned(first: MeasuredRun, second: MeasuredRun) -> Sequence[str]:
    """Packages that either suite is pinned to."""
    return list(dict.fromkeys([*first.manifest.suite.engine, *second.manifest.suite.engine]))


def _assets(first: MeasuredRun, second: MeasuredRun) -> Iterator[str]:
    one, other = (run.manifest.assets for run in (first, second))
    if one and other and one != other:
        yield f"assets {one} against {other}: other meshes or textures"


def _mismatches(first: MeasuredRun, second: MeasuredRun) -> Iterator[str]:
    for run in (first, second):
        yield from (f"{run.name} allowed a mismatch: {line}" for line in run.manifest.mismatches)


def _worlds(first: MeasuredRun, second: MeasuredRun, shared: list[str]) -> Iterator[str]:
    if not shared:
        yield "no clean item is recorded in both"
        return
    probes = [run.clean["probe"].loc[shared] for run in (first, second)]
    # An episode that broke off before the world had settled has no probe.
    other = (probes[0] != probes[1]) & (probes[0] != "") & (probes[1] != "")
    if other.any():
        yield f"other worlds: the probes differ on {int(other.sum())} of {len(shared)} shared items"


def _harness_errors(first: MeasuredRun, second: MeasuredRun, shared: list[str]) -> Iterator[str]:
    for run in (first, second):
        failed = int((run.clean["reason"].loc[shared] == "harness_error").sum())
        if failed:
            yield (
                f"{run.name}: the harness failed on {failed} of {len(shared)} shared items, which count "
                "as failures; run it again to retry them"
            )


def _unfinished(first: MeasuredRun, second: MeasuredRun) -> Iterator[str]:
    """Episodes that a run was to play and has no record of: the hard ones are often the last to end."""
    for run, other in permutations((first, second)):
        lacking = run.clean.index[~run.clean["recorded"]]
        if lacking.empty:
            continue
        line = f"{run.name} is unfinished: {len(lacking)} of {len(run.clean)} episodes are missing"
        there = other.clean[other.clean["recorded"] & other.clean.index.isin(run.clean.index)]
        gone = there.index.isin(lacking)
        won = there["success"].to_numpy()
        table = [[int((won & part).sum()), int((~won & part).sum())] for part in (gone, ~gone)]
        if fisher_exact(np.array(table)).pvalue <= CHANCE:
            rates = [f"{k}/{k + lost}" for k, lost in table]
            line += (
                f", and not by chance: {other.name} succeeds on {rates[0]} of these, on {rates[1]} of "
                "the others"
            )
        yield line


def _privileged(first: MeasuredRun, second: MeasuredRun) -> Iterator[str]:
    for run, other in permutations((first, second)):
        own, others = (m.manifest.policy.inputs.privileged for m in (run, other))
        if extra := [name for name in own if name not in others]:
            yield f"{run.name} alone reads the privileged {', '.join(extra)}"


def _remarks(first: MeasuredRun, second: MeasuredRun, shared: list[str]) -> Iterator[str]:
    one, other = first.manifest, second.manifest
    if one.suite.name != other.suite.name and shared:
        yield f"the items that both have played are of {one.suite.name} and of {other.suite.name}"
    yield from _policies(one.policy, other.policy)
    if one.horizon != other.horizon:
        yield f"horizon {one.horizon} against {other.horizon}"
    if one.batch != other.batch:
        yield f"batch {one.batch} against {other.batch}: actions may differ in the last bits"
    if one.latency != other.latency and one.delay == other.delay:
        lags = [m.latency and f"{m.latency.ms:.1f} ms on {m.latency.device}" for m in (one, other)]
        yield f"delay made from {lags[0]} against {lags[1]}"
    pinned = _pinned(first, second)
    others = [{k: v for k, v in m.versions.items() if k not in pinned} for m in (one, other)]
    yield from (f"version of {line}" for line in changed_entries(others[0], others[1]))
    yield from (f"hardware {line}" for line in changed_entries(one.hardware, other.hardware))
    counts = [int(run.clean["recorded"].sum()) for run in (first, second)]
    if counts != [len(shared)] * 2:
        one_left, other_left = (count - len(shared) for count in counts)
        yield (
            f"{counts[0]} and {counts[1]} clean items are recorded, {len(shared)} of them in both; "
            f"{one_left} and {other_left} are left out"
        )


def _policies(one: PolicyCard, other: PolicyCard) -> Iterator[str]:
    """What differs in the cards; of two policies only what both have."""
    if one.digest == other.digest:
        return
    if one.name == other.name:
        cards = [card.model_dump(exclude={"inputs", *NEVER_MATTERS}) for card in (one, other)]
        yield from (f"policy {line}" for line in changed_entries(cards[0], cards[1]))
    else:
        yield f"policy {one.name} against {other.name}"
        if one.chunk_length != other.chunk_length:
            yield f"chunk length {one.chunk_length} against {other.chunk_length}"
    for kind in ("images", "state"):
        read = [list(getattr(card.inputs, kind)) for card in (one, other)]
        if set(read[0]) != set(read[1]):
            names = [", ".join(entries) or "nothing" for entries in read]
            yield f"{kind} read: {names[0]} against {names[1]}"


def changed_entries(
    one: Mapping[str, Any], other: Mapping[str, Any], before: str = ""
) -> Iterator[str]:
    """`name: value against value` for each entry that differs, tables entered."""
    for name in [*one, *(name for name in other if name not in one)]:
        values = one.get(name), other.get(name)
        if values[0] == values[1] or name in NEVER_MATTERS:
            continue
        if isinstance(values[0], Mapping) and isinstance(values[1], Mapping):
            yield from changed_entries(values[0], values[1], f"{before}{name}.")
        else:
            yield f"{before}{name}: {_said(values[0])} against {_said(values[1])}"


def _said(value: object) -> str:
    return "nothing" if value is None else str(value)
