"""The same episodes played twice, under two conditions or by two policies: who succeeds on which."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from vla_bench.reports.statistics.pairs import Pairs


@dataclass(frozen=True)
class PairedRow:
    """Items of one task, or of several, played twice; harness errors are failures."""

    task: str
    pairs: Pairs
    """Items of which both episodes are recorded."""
    harness_errors: int
    """Of either episode, over the pairs."""
    missing: int
    """Items of which an episode is not recorded yet."""

    @property
    def solved(self) -> tuple[int, int]:
        """Items on which the first, and on which the second succeeds."""
        return self.pairs.both + self.pairs.only_first, self.pairs.both + self.pairs.only_second

    @property
    def difference(self) -> tuple[float, tuple[float, float]] | None:
        """The second success rate less the first, and its 95 % interval; None without a pair."""
        return self.pairs.difference if self.pairs.total else None


def paired_rows(first: pd.DataFrame, second: pd.DataFrame) -> list[PairedRow]:
    """A row per task, tasks in order of appearance.

    Args:
        first: Episodes as `MeasuredRun.episodes` has them.
        second: As many; the n-th is of the same item as the n-th of `first`.
    """
    tasks = first["task"].to_numpy(object)
    return [
        _row(task, first[tasks == task], second[tasks == task]) for task in dict.fromkeys(tasks)
    ]


def _row(task: str, first: pd.DataFrame, second: pd.DataFrame) -> PairedRow:
    there = _column(first, "recorded") & _column(second, "recorded")
    failed = [(frame["reason"] == "harness_error").to_numpy() for frame in (first, second)]
    return PairedRow(
        task=task,
        pairs=Pairs.of(_column(first, "success")[there], _column(second, "success")[there]),
        harness_errors=sum(int((there & those).sum()) for those in failed),
        missing=int((~there).sum()),
    )


def _column(frame: pd.DataFrame, name: str) -> NDArray[np.bool_]:
    return frame[name].to_numpy(bool)


def sum_of(rows: Sequence[PairedRow]) -> PairedRow:
    """The row over the items of all tasks."""
    pairs = [row.pairs for row in rows]
    return PairedRow(
        task=f"all {len(rows)} tasks",
        pairs=Pairs(
            both=sum(p.both for p in pairs),
            only_first=sum(p.only_first for p in pairs),
            only_second=sum(p.only_second for p in pairs),
            neither=sum(p.neither for p in pairs),
        ),
        harness_errors=sum(row.harness_errors for row in rows),
        missing=sum(row.missing for row in rows),
    )
