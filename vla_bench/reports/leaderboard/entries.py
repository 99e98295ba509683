"""Runs with records, as the leaderboard lists them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pandas as pd

from vla_bench.items import digest
from vla_bench.records import RunManifest
from vla_bench.reports import success
from vla_bench.reports.comparable import protocol_digest
from vla_bench.reports.measured import MeasuredRun, read_runs
from vla_bench.reports.statistics.intervals import wilson
from vla_bench.reports.tables.table import Kind

FOLDERS: Mapping[Kind, str] = {"measured": "runs", "elsewhere": "elsewhere"}
"""Kind of run -> its folder, both in the results and in the site."""
OUTCOME = (
    "recorded",
    "success",
    "reason",
    "steps",
    "first_success",
    "queries",
    "probe",
    "states",
    "actions",
)
"""What the digest of a run's records is made from, beside the items."""


@dataclass(frozen=True)
class Share:
    """Successes of some episodes."""

    name: str
    successes: int
    episodes: int

    @property
    def rate(self) -> float:
        """Success rate in [0, 1]."""
        return self.successes / self.episodes

    @property
    def interval(self) -> tuple[float, float]:
        """95 % Wilson interval of the rate."""
        return wilson(self.successes, self.episodes)


@dataclass(frozen=True)
class Entry:
    """One run, made here or elsewhere."""

    run: MeasuredRun
    kind: Kind

    @property
    def manifest(self) -> RunManifest:
        """What the run is a run of."""
        return self.run.manifest

    @property
    def policy(self) -> str:
        """The policy's name."""
        return self.manifest.policy.name

    @property
    def suite(self) -> str:
        """The suite's name."""
        return self.manifest.suite.name

    @property
    def folder(self) -> str:
        """The run folder, as seen from where the results are."""
        return f"results/{FOLDERS[self.kind]}/{self.run.name}"

    @property
    def page(self) -> str:
        """Its page in the site."""
        return f"{FOLDERS[self.kind]}/{self.run.name}.html"

    @property
    def setting(self) -> str:
        """Execution horizon, delay, input control and what else tells runs of a policy apart."""
        batch = f", batch {self.manifest.batch}" if self.manifest.batch > 1 else ""
        seed = f", seed {self.manifest.seed}" if self.manifest.seed else ""
        return success.setting(self.manifest) + batch + seed

    @property
    def protocol(self) -> str:
        """Version of the suite, and the name of the protocol that it follows if it has several."""
        card = self.manifest.suite
        named = f", {card.options['protocol']}" if "protocol" in card.options else ""
        return f"v{card.version}{named}"

    @cached_property
    def rows(self) -> Sequence[success.SuccessRow]:
        """Success task by task, clean episodes only."""
        return success.success_rows(self.run)

    @cached_property
    def mean(self) -> tuple[float, tuple[float, float]] | None:
        """Mean over tasks of the success rates and its 95 % interval; None without an episode."""
        return success.mean_rate(self.rows)

    @property
    def successes(self) -> int:
        """Clean episodes that succeed."""
        return sum(row.successes for row in self.rows)

    @property
    def episodes(self) -> int:
        """Clean episodes recorded."""
        return sum(row.episodes for row in self.rows)

    @cached_property
    def trials(self) -> Sequence[Share]:
        """Success trial by trial, clean episodes only."""
        recorded = self.run.clean[self.run.clean["recorded"]]
        return [
            Share(str(trial), int(of_trial["success"].sum()), len(of_trial))
            for trial, of_trial in recorded.groupby("trial")
        ]

    @cached_property
    def records(self) -> str:
        """Digest of the outcomes in the order of the items: the same of two runs that agree."""
        frame = self.run.episodes[list(OUTCOME)].astype(object)
        outcomes = frame.where(pd.notna(frame), None)
        return digest([list(self.run.episodes.index), outcomes.to_numpy().tolist()])

    @cached_property
    def protocol_digest(self) -> str:
        """Runs with the same one may be compared."""
        return protocol_digest(self.manifest)


def read_entries(results: Path) -> Sequence[Entry]:
    """Every run of a results folder, those made here first, by name.

    Raises:
        UserError: A run folder is damaged.
    """
    paths = {
        path.parent: kind
        for kind, folder in FOLDERS.items()
        for path in sorted((results / folder).glob("*/manifest.json"))
    }
    return [Entry(run, paths[run.path]) for run in read_runs(list(paths))]
