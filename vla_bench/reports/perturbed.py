"""Clean and perturbed episodes of the same items, side by side: a table per perturbation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from vla_bench.items import CLEAN
from vla_bench.perturbations.catalogue import kind_and_level
from vla_bench.records import RunManifest
from vla_bench.reports.measured import MeasuredRun
from vla_bench.reports.statistics.pairs import paired_interval

HEADER = (
    "task",
    "clean",
    "perturbed",
    "difference",
    "95 % interval",
    "only clean",
    "only perturbed",
    "harness errors",
    "missing",
)
FOOTNOTE = (
    "Successes of the same items with the same draws, clean and perturbed; an item counts when both its "
    "episodes are recorded. Differences in percentage points, intervals Newcombe's for paired rates, in "
    "the last line over the items of all tasks. `only clean`: items that succeed only when clean."
)


@dataclass(frozen=True)
class PairedRow:
    """Items of one task, or of several, clean and under one perturbation; harness errors are failures."""

    task: str
    both: int
    """Items on which both episodes succeed."""
    only_clean: int
    only_perturbed: int
    neither: int
    harness_errors: int
    """Of either episode."""
    missing: int
    """Items of which an episode is not recorded yet."""

    @property
    def pairs(self) -> int:
        """Items of which both episodes are recorded."""
        return self.both + self.only_clean + self.only_perturbed + self.neither

    @property
    def difference(self) -> tuple[float, tuple[float, float]] | None:
        """Perturbed success rate less the clean one, and its 95 % interval; None without a pair."""
        if not self.pairs:
            return None
        return paired_interval(self.both, self.only_perturbed, self.only_clean, self.neither)


def paired_rows(run: MeasuredRun) -> Mapping[str, Sequence[PairedRow]]:
    """For each perturbation of a run a row per task, and one of all tasks if there are several."""
    return {
        arm: _with_sum(
            [
                _row(str(task), of_task, run.clean)
                for task, of_task in run.episodes[run.episodes["arm"] == arm].groupby(
                    "task", observed=True, sort=False
                )
            ]
        )
        for arm in sorted(set(run.episodes["arm"]) - {CLEAN})
    }


def _row(task: str, perturbed: pd.DataFrame, clean: pd.DataFrame) -> PairedRow:
    there = perturbed["recorded"] & perturbed["clean"].isin(clean.index[clean["recorded"]])
    pairs = perturbed[there]
    alike = clean.loc[pairs["clean"]]
    first, second = alike["success"].to_numpy(), pairs["success"].to_numpy()
    return PairedRow(
        task=task,
        both=int((first & second).sum()),
        only_clean=int((first & ~second).sum()),
        only_perturbed=int((~first & second).sum()),
        neither=int((~first & ~second).sum()),
        harness_errors=sum(int((arm["reason"] == "harness_error").sum()) for arm in (alike, pairs)),
        missing=int((~there).sum()),
    )


def _with_sum(rows: list[PairedRow]) -> Sequence[PairedRow]:
    if len(rows) == 1:
        return rows
    counts = ("both", "only_clean", "only_perturbed", "neither", "harness_errors", "missing")
    sums = {name: sum(getattr(row, name) for row in rows) for name in counts}
    return [*rows, PairedRow(f"all {len(rows)} tasks", **sums)]


def cells(row: PairedRow) -> tuple[str, ...]:
    """A row as text, in the order of `HEADER`."""
    difference = interval = "-"
    if row.difference is not None:
        value, (low, high) = row.difference
        difference, interval = _points(value), f"[{_points(low)}, {_points(high)}]"
    return (
        row.task,
        f"{row.both + row.only_clean}/{row.pairs}",
        f"{row.both + row.only_perturbed}/{row.pairs}",
        difference,
        interval,
        str(row.only_clean),
        str(row.only_perturbed),
        str(row.harness_errors),
        str(row.missing),
    )


def _points(share: float) -> str:
    """Percentage points with their sign; adding 0.0 turns -0.0 into 0.0."""
    return f"{round(100 * share, 1) + 0.0:+.1f}"


def heading(arm: str, manifest: RunManifest) -> str:
    """A perturbation and its level, what that is, and whether the policy can notice it at all."""
    kind, level = kind_and_level(arm)
    said = f"`{arm}`: {kind.description}; {kind.said(level)}."
    policy = manifest.policy
    if kind.felt_in is not None and not getattr(policy.inputs, kind.felt_in):
        said += f" {policy.name} reads no {kind.felt_in}, so that nothing can differ."
    return said


def markdown(run: MeasuredRun) -> list[str]:
    """The tables as lines of a Markdown page; none of a run without perturbations."""
    tables = paired_rows(run)
    page = ["## Clean and perturbed", "", FOOTNOTE, ""] if tables else []
    for arm, rows in tables.items():
        page += [
            heading(arm, run.manifest),
            "",
            "| " + " | ".join(HEADER) + " |",
            "|" + "---|" * len(HEADER),
            *("| " + " | ".join(cells(row)) + " |" for row in rows),
            "",
        ]
    return page
