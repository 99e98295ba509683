"""The episodes of a run as its page shows them: one by one, and failures by task."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from vla_bench.items import CLEAN
from vla_bench.reports.leaderboard.entries import Entry
from vla_bench.reports.measured import STATUS, MeasuredRun

MOST_ROWS = 2000
"""Episodes of the longest run whose page lists them all."""
MOST_FILMS = 12


@dataclass(frozen=True)
class Episode:
    """An episode of a page's table, as text."""

    place: str
    item: str
    success: bool
    outcome: str
    steps: str
    first_success: str
    queries: str
    probe: str
    states: str
    actions: str
    film: str
    """Path of its film below the run folder; empty without one."""
    replay: str
    """The command that plays a failure again; empty for a success."""


@dataclass(frozen=True)
class Failures:
    """How the episodes of a task without success ended."""

    task: str
    failures: int
    reasons: Mapping[str, int]
    held: Mapping[str, int]
    """Condition -> in how many of them it held at the end, of those that say so."""
    told: Mapping[str, int]
    """Condition -> how many of them say whether it held."""


def shortened(run: MeasuredRun) -> bool:
    """Whether a page lists the failures only."""
    return len(run.episodes) > MOST_ROWS


def listed(entry: Entry) -> Sequence[Episode]:
    """The episodes that the run's page lists, in the order of the items."""
    frame = entry.run.episodes
    if shortened(entry.run):
        frame = frame[~frame["success"]]
    films = _films(entry.run)
    rows = zip(frame.index, frame.to_dict("records"), strict=True)
    return [_episode(entry, item, row, films) for item, row in rows]


def breakdown(run: MeasuredRun) -> Sequence[Failures]:
    """Failures task by task, tasks without any left out."""
    failed = run.episodes[~run.episodes["success"]]
    conditions = _conditions(run.episodes)
    return [
        _failures(str(task), frame, conditions)
        for task, frame in failed.groupby("task", observed=True, sort=False)
    ]


def _episode(entry: Entry, item: str, row: Mapping[Any, Any], films: Mapping[str, str]) -> Episode:
    arm = "" if row["arm"] == CLEAN else f"/{row['arm']}"
    place = f"{row['task']}/{row['trial']}/{row['index']}{arm}"
    error = f": {row['error']}" if row["error"] else ""
    replay = not row["success"] and row["recorded"]
    return Episode(
        place=place,
        item=item,
        success=row["success"],
        outcome=row["reason"].replace("_", " ") + error,
        **{name: _count(row[name]) for name in ("steps", "first_success", "queries")},
        **{name: row[name] or "-" for name in ("probe", "states", "actions")},
        film=films.get(item, ""),
        replay=f"vla-bench replay {entry.folder} {place}" if replay else "",
    )


def _count(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.0f}"


def _films(run: MeasuredRun) -> Mapping[str, str]:
    """Item -> its film below the run folder; one listing for a run of thousands."""
    paths = sorted((run.path / "videos").glob("*.mp4"))
    return {path.stem.rpartition("_")[2]: f"videos/{path.name}" for path in paths}


def _conditions(frame: pd.DataFrame) -> Sequence[str]:
    """The measures that are yes or no in every episode."""
    return [
        name
        for name in frame.columns
        if name.startswith(STATUS) and frame[name].dropna().isin((0.0, 1.0)).all()
    ]


def _failures(task: str, frame: pd.DataFrame, conditions: Sequence[str]) -> Failures:
    told = {name.removeprefix(STATUS): frame[name].dropna() for name in conditions}
    return Failures(
        task=task,
        failures=len(frame),
        reasons={
            str(reason): int(count) for reason, count in frame["reason"].value_counts().items()
        },
        held={name: int(values.sum()) for name, values in told.items() if len(values)},
        told={name: len(values) for name, values in told.items()},
    )
