"""The items that one of two runs solves and the other does not."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, zip_longest
from typing import Any

import pandas as pd

from vla_bench.items import place_of
from vla_bench.reports.measured import MeasuredRun


@dataclass(frozen=True)
class Split:
    """An item that just one of two runs solves."""

    item: str
    """Its digest."""
    task: str
    place: str
    """Its name within the runs."""
    solver: int
    """Which run solves it: 0 or 1."""
    ends: tuple[str, str]
    """Why the episode ended in either run, and with what error."""
    steps: tuple[int, int]
    """Control steps in either."""
    replay: str
    """The command that shows the failure."""


def find_splits(
    runs: tuple[MeasuredRun, MeasuredRun], episodes: tuple[pd.DataFrame, pd.DataFrame]
) -> list[Split]:
    """The items that just one run solves, in their order.

    Args:
        runs: Both runs.
        episodes: Their episodes of the shared items, in the same order.
    """
    apart = (episodes[0]["success"] != episodes[1]["success"]).to_numpy(bool)
    sides = [frame[apart].to_dict("index") for frame in episodes]
    found = []
    for item in sides[0]:
        one, other = (side[item] for side in sides)
        place = place_of(one["task"], one["trial"], one["index"], one["arm"])
        loser = runs[1 if one["success"] else 0]
        found.append(
            Split(
                item=str(item),
                task=one["task"],
                place=place,
                solver=0 if one["success"] else 1,
                ends=(_end(one), _end(other)),
                steps=(int(one["steps"]), int(other["steps"])),
                replay=shlex.join(["vla-bench", "replay", str(loser.path), place]),
            )
        )
    return found


def _end(episode: Mapping[Any, Any]) -> str:
    error = episode["error"]
    # Where there is none, a frame may have NaN.
    said = error.strip().splitlines() if isinstance(error, str) else []
    return f"{episode['reason']}: {said[0]}" if said else str(episode["reason"])


def spread(splits: Sequence[Split], count: int) -> list[Split]:
    """Some of the items, from as many tasks as can be, within a task solved by either run in turn."""
    tasks: dict[str, tuple[list[Split], list[Split]]] = {}
    for split in splits:
        tasks.setdefault(split.task, ([], []))[split.solver].append(split)
    return _in_turns([_in_turns(solved) for solved in tasks.values()])[:count]


def _in_turns(lists: Sequence[Sequence[Split]]) -> list[Split]:
    """The first of each list, then the second of each, and so on."""
    turns = chain.from_iterable(zip_longest(*lists))
    return [split for split in turns if split is not None]
