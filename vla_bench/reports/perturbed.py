"""Clean and perturbed episodes of the same items, side by side: a table per perturbation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from vla_bench.items import CLEAN
from vla_bench.perturbations.catalogue import kind_and_level
from vla_bench.records import RunManifest
from vla_bench.reports import paired
from vla_bench.reports.measured import MeasuredRun
from vla_bench.reports.paired import PairedRow, sum_of

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


def paired_rows(run: MeasuredRun) -> Mapping[str, Sequence[PairedRow]]:
    """For each perturbation of a run a row per task, and one of all tasks if there are several."""
    return {
        arm: _with_sum(_rows(run, run.episodes[run.episodes["arm"] == arm]))
        for arm in sorted(set(run.episodes["arm"]) - {CLEAN})
    }


def _rows(run: MeasuredRun, perturbed: pd.DataFrame) -> Sequence[PairedRow]:
    return paired.paired_rows(run.clean.loc[perturbed["clean"]], perturbed)


def _with_sum(rows: Sequence[PairedRow]) -> Sequence[PairedRow]:
    return rows if len(rows) == 1 else [*rows, sum_of(rows)]


def cells(row: PairedRow) -> tuple[str, ...]:
    """A row as text, in the order of `HEADER`."""
    pairs = row.pairs
    difference = interval = "-"
    if row.difference is not None:
        value, (low, high) = row.difference
        difference, interval = _points(value), f"[{_points(low)}, {_points(high)}]"
    return (
        row.task,
        *(f"{solved}/{pairs.total}" for solved in row.solved),
        difference,
        interval,
        str(pairs.only_first),
        str(pairs.only_second),
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
