"""The runs of one suite, each under the label that it has in every table and figure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from vla_bench.items import digest
from vla_bench.reports.comparable import protocol_digest
from vla_bench.reports.measured import MeasuredRun
from vla_bench.reports.page.settings import Settings, settings_of, told_apart
from vla_bench.reports.success import SuccessRow, mean_rate, setting, success_rows
from vla_bench.reports.tables.table import Kind

IN_LABEL = ("horizon", "delay", "input control")
"""Settings that a label says anyway."""


@dataclass(frozen=True, eq=False)
class Entry:
    """A run with its label."""

    run: MeasuredRun
    label: str

    @property
    def policy(self) -> str:
        """Name of the policy."""
        return self.run.manifest.policy.name

    @property
    def kind(self) -> Kind:
        """Whether it was run here or elsewhere; the folder says it."""
        return "elsewhere" if self.run.path.resolve().parent.name == "elsewhere" else "measured"

    @cached_property
    def settings(self) -> Settings:
        """What it was set to."""
        return settings_of(self.run.manifest)

    @cached_property
    def rows(self) -> Sequence[SuccessRow]:
        """Success of its clean episodes, by task."""
        return success_rows(self.run)

    @cached_property
    def mean(self) -> tuple[float, tuple[float, float]] | None:
        """Mean over tasks and its 95 % interval; None without an episode."""
        return mean_rate(self.rows)

    @property
    def count(self) -> tuple[int, int]:
        """Successes and episodes of all tasks."""
        return sum(row.successes for row in self.rows), sum(row.episodes for row in self.rows)

    @cached_property
    def trials(self) -> Sequence[float]:
        """The mean over tasks in each trial."""
        clean = self.run.clean
        rates = clean[clean["recorded"]].groupby(["trial", "suite", "task"], observed=True)
        suites = rates["success"].mean().groupby(level=["trial", "suite"], observed=True).mean()
        return [float(rate) for rate in suites.groupby(level="trial").mean()]

    @cached_property
    def world(self) -> str:
        """Digest of everything of the suite that could change a result, engine and assets included."""
        return protocol_digest(self.run.manifest)

    @cached_property
    def recorded(self) -> frozenset[str]:
        """Clean items that have a record."""
        clean = self.run.clean
        return frozenset(clean.index[clean["recorded"]])

    @cached_property
    def played(self) -> str:
        """Digest of the clean items that are recorded."""
        return digest(sorted(self.recorded))

    def outcomes(self, items: Sequence[str]) -> NDArray[np.bool_]:
        """Success on some clean items, bool (items,)."""
        found: NDArray[np.bool_] = self.run.clean["success"].loc[list(items)].to_numpy(np.bool_)
        return found


def entries_of(runs: Sequence[MeasuredRun]) -> Sequence[Entry]:
    """Labels runs of one suite: policy, horizon, and what else differs among runs of the policy."""
    labels = [f"{run.manifest.policy.name}, {setting(run.manifest)}" for run in runs]
    for policy in dict.fromkeys(run.manifest.policy.name for run in runs):
        places = [n for n, run in enumerate(runs) if run.manifest.policy.name == policy]
        apart = told_apart([settings_of(runs[n].manifest) for n in places], IN_LABEL)
        for place, said in zip(places, apart, strict=True):
            labels[place] += f", {said}" if said else ""
    return [Entry(run, label) for run, label in zip(runs, _unique(runs, labels), strict=True)]


def _unique(runs: Sequence[MeasuredRun], labels: Sequence[str]) -> Sequence[str]:
    """The labels, with the folder's name where two runs have the same, and a number where that is too."""
    often = Counter(labels)
    named = [
        f"{label} ({run.name})" if often[label] > 1 else label
        for run, label in zip(runs, labels, strict=True)
    ]
    often, before = Counter(named), Counter[str]()
    found = []
    for label in named:
        before[label] += 1
        found.append(f"{label} #{before[label]}" if often[label] > 1 else label)
    return found
