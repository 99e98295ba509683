"""What there is to say about two runs, computed once for every form in which it is shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pandas as pd

from vla_bench.errors import UserError
from vla_bench.reports.comparable import Differences, differences, shared_items
from vla_bench.reports.compare.splits import Split, find_splits
from vla_bench.reports.compare.verdict import verdict
from vla_bench.reports.measured import MeasuredRun, read_run
from vla_bench.reports.paired import PairedRow, paired_rows, sum_of


@dataclass(frozen=True)
class Agreement:
    """How many of the shared items have equal digests in both runs."""

    items: int
    states: int
    """All simulator states are the same."""
    actions: int
    """All actions are the same."""
    both: int

    def __str__(self) -> str:
        if not (self.states or self.actions):
            return "No item has the same states, or the same actions, to the bit in both runs."
        return (
            f"To the bit the same in both runs: all states and actions of {self.both} of {self.items} "
            f"items (states {self.states}, actions {self.actions})."
        )


@dataclass(frozen=True)
class Comparison:
    """Two runs on the items that both have recorded."""

    runs: tuple[MeasuredRun, MeasuredRun]
    names: tuple[str, str]
    """The folders' names, or their paths where the names are the same."""
    differences: Differences
    episodes: tuple[pd.DataFrame, pd.DataFrame]
    """The shared items' episodes, in the same order."""

    @property
    def comparable(self) -> bool:
        """Whether a difference of the success rates means anything."""
        return self.differences.comparable

    @property
    def items(self) -> int:
        """Clean items that both have recorded."""
        return len(self.episodes[0])

    @cached_property
    def rows(self) -> Sequence[PairedRow]:
        """A row per task; none if nothing is shared."""
        return paired_rows(*self.episodes)

    @cached_property
    def total(self) -> PairedRow:
        """The row over all items."""
        return sum_of(self.rows)

    @cached_property
    def verdicts(self) -> Sequence[str]:
        """What follows, one sentence each; none where nothing does."""
        if not self.comparable:
            return []
        said = [verdict(self.rows, self.names)]
        if self.total.harness_errors:
            broken = [frame["reason"] == "harness_error" for frame in self.episodes]
            fine = ~(broken[0] | broken[1])
            if fine.any():
                rows = paired_rows(*(frame[fine] for frame in self.episodes))
                left = verdict(rows, self.names)
                said.append(f"Without the {(~fine).sum()} items that the harness failed on: {left}")
        if self._same_policy:
            said.append(
                f"It is the same policy under the same settings: its {self.total.pairs.discordant} "
                f"discordant of {self.total.pairs.total} items are the floor under any difference."
            )
        return said

    @property
    def _same_policy(self) -> bool:
        one, other = (run.manifest.identity() for run in self.runs)
        return one == other

    @cached_property
    def agreement(self) -> Agreement:
        """To the bit."""
        equal = {
            name: (self.episodes[0][name] == self.episodes[1][name])
            & self.episodes[0][name].astype(bool)
            for name in ("states", "actions")
        }
        return Agreement(
            items=self.items,
            states=int(equal["states"].sum()),
            actions=int(equal["actions"].sum()),
            both=int((equal["states"] & equal["actions"]).sum()),
        )

    @cached_property
    def splits(self) -> Sequence[Split]:
        """The items on which just one run succeeds, in their order."""
        return find_splits(self.runs, self.episodes)


def compare(first: Path, second: Path) -> Comparison:
    """Reads two runs and sets their clean episodes side by side.

    Raises:
        UserError: One is no run folder, or both are the same.
    """
    if first.resolve() == second.resolve():
        raise UserError(
            f"{first} is given twice; give two runs, or `vla-bench report {first}` for one"
        )
    runs = read_run(first), read_run(second)
    shared = shared_items(*runs)
    same = runs[0].name == runs[1].name
    return Comparison(
        runs=runs,
        names=(str(first), str(second)) if same else (runs[0].name, runs[1].name),
        differences=differences(*runs),
        episodes=(runs[0].clean.loc[shared], runs[1].clean.loc[shared]),
    )
