"""Failed episodes with a film."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence

import pandas as pd

from vla_bench.errors import UserError
from vla_bench.items import CLEAN
from vla_bench.reports.page.entries import Entry
from vla_bench.reports.page.report import Film, Gallery, Section
from vla_bench.reports.page.values import count
from vla_bench.reports.tables.table import Cell, Column, Row, Table
from vla_bench.video import still

MOST = 12
"""Films shown of a run, spread over its tasks."""
WIDTH = 320
"""Of a still (pixels)."""
TEXT = (
    f"At most {MOST} a run, spread over its tasks. The films stay in the run's folder: the page shows "
    "their last pictures without them."
)


def section(suite: str, entries: Sequence[Entry]) -> Section | None:
    """Films of failures; None of runs without any."""
    rows, films = [], []
    for entry in entries:
        for digest, episode in _chosen(entry).iterrows():
            film = _film(entry, str(digest), episode)
            films.append(film)
            rows.append(Row(_cells(film, episode), entry.kind, entry.label))
    if not films:
        return None
    columns = [
        Column("Episode", numeric=False),
        Column("ended by", numeric=False),
        Column("steps"),
        Column("film", numeric=False),
        Column("plays it again", numeric=False),
    ]
    table = Table(f"{suite}-films", "Films of failures", columns, rows)
    return Section("Failures on film", [Gallery(table, films)], [TEXT])


def _cells(film: Film, episode: pd.Series) -> list[Cell]:
    steps = count(int(episode["steps"]))
    return [_place(episode), str(episode["reason"]), steps, film.path.name, film.command]


def _chosen(entry: Entry) -> pd.DataFrame:
    """Failed episodes with a film: the first of each task, then the second, and so on."""
    frame = entry.run.episodes
    failed = frame[frame["recorded"] & ~frame["success"]]
    filmed = failed[failed.index.isin(entry.run.films)]
    turn = filmed.groupby("task", observed=True).cumcount()
    chosen = turn.sort_values(kind="stable").index[:MOST]
    return filmed[filmed.index.isin(chosen)]


def _film(entry: Entry, digest: str, episode: pd.Series) -> Film:
    path = entry.run.films[digest]
    try:
        picture = still(path, WIDTH)
    except UserError:
        picture = None
    error = f": {episode['error']}" if episode["error"] else ""
    ending = f"{episode['reason']} after {episode['steps']:.0f} steps{error}"
    caption = f"{entry.label}, {_place(episode)}: {ending}"
    folder = os.path.relpath(entry.run.path)
    command = shlex.join(["vla-bench", "replay", folder, _place(episode)])
    return Film(path, caption, command, picture)


def _place(episode: pd.Series) -> str:
    """`task/trial/index`, as `vla-bench replay` takes it."""
    arm = "" if episode["arm"] == CLEAN else f"/{episode['arm']}"
    return f"{episode['task']}/{episode['trial']}/{episode['index']}{arm}"
