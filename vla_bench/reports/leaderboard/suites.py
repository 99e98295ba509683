"""What the page of a suite shows beside its boards."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from vla_bench.items import WorkItem, digest
from vla_bench.records import RunFolder
from vla_bench.reports.leaderboard.boards import Board
from vla_bench.reports.leaderboard.citations import Citation
from vla_bench.reports.leaderboard.described import short_names
from vla_bench.reports.leaderboard.entries import Entry
from vla_bench.reports.success import SuccessRow

FIRST = 5
"""Items shown."""


@dataclass(frozen=True)
class Heat:
    """Success of runs on tasks."""

    tasks: Sequence[str]
    head: Sequence[str]
    """Short names of the tasks."""
    entries: Sequence[Entry]
    citations: Sequence[Citation]
    """Rows of papers that name some of the tasks."""

    def cells(self, entry: Entry) -> Sequence[SuccessRow | None]:
        """A run's rows in the order of the tasks."""
        rows = {row.task: row for row in entry.rows}
        return [rows.get(task) for task in self.tasks]


@dataclass(frozen=True)
class ItemSet:
    """Runs that have the same items."""

    episodes: int
    digests: Mapping[str, str]
    """Task -> digest of its items."""
    runs: Sequence[Entry]


def heat(board: Board, citations: Sequence[Citation]) -> Heat:
    """The heat table of a board.

    Args:
        board: The board, of a suite that has a card.
        citations: Published success rates on the suite.
    """
    assert board.card is not None
    tasks = list(board.card.tasks)
    named = [citation for citation in citations if not citation.tasks.keys().isdisjoint(tasks)]
    return Heat(tasks, short_names(tasks), board.entries, named if board.number == 1 else [])


def item_sets(entries: Sequence[Entry]) -> Sequence[ItemSet]:
    """The different sets of items of some runs, the largest first."""
    sets: dict[str, list[Entry]] = {}
    for entry in entries:
        sets.setdefault(digest(entry.manifest.items), []).append(entry)
    found = [ItemSet(len(r[0].run.episodes), r[0].manifest.items, r) for r in sets.values()]
    return sorted(found, key=lambda played: -played.episodes)


def first_items(entries: Sequence[Entry]) -> Sequence[WorkItem]:
    """The first items of the first run, to show what an item is."""
    return RunFolder(entries[0].run.path).items()[:FIRST] if entries else []
