"""How the runs of one protocol stand on the board."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from vla_bench.reports.leaderboard.entries import Entry
from vla_bench.reports.measured import MeasuredRun
from vla_bench.reports.ranking import obstacle, order_of


@dataclass(frozen=True)
class Standing:
    """A run's place among those of one protocol."""

    entry: Entry
    unranked: str = ""
    """Why it is not ranked; empty if it is."""
    letters: str = ""
    """Two ranked runs share a letter exactly if they do not differ significantly."""
    rank_set: tuple[int, int] | None = None
    """Best and worst rank that it may have, from 1."""

    @property
    def first(self) -> bool:
        """Whether it is significantly better than every other ranked run."""
        return self.rank_set == (1, 1)


@dataclass(frozen=True)
class Standings:
    """The runs of one protocol: ranked ones first, best first, then the others by their mean."""

    places: Sequence[Standing]
    items: int
    """Clean items that the ranking is of; 0 without one."""

    @property
    def ranked(self) -> int:
        """How many runs are ranked."""
        return sum(not place.unranked for place in self.places)


def standings(entries: Sequence[Entry]) -> Standings:
    """Ranks the runs of one protocol that can be ranked, and have all its tasks."""
    order = order_of([entry.run for entry in entries], unrankable)
    places = [Standing(entries[place], unranked=why) for place, why in order.unranked.items()]
    if order.ranking is not None:
        places += [
            Standing(entries[place], letters=letters, rank_set=ranks)
            for place, letters, ranks in zip(
                order.ranked, order.ranking.letters, order.ranking.rank_sets, strict=True
            )
        ]
    places.sort(key=lambda place: (bool(place.unranked), -_mean(place.entry), place.entry.page))
    return Standings(places, len(order.items))


def unrankable(run: MeasuredRun) -> str:
    """Why a run is in no ranking of the board; empty if it may be."""
    tasks, all_tasks = len(run.manifest.items), len(run.manifest.suite.tasks)
    return f"{tasks} of {all_tasks} tasks" if tasks < all_tasks else obstacle(run)


def _mean(entry: Entry) -> float:
    return -1.0 if entry.mean is None else entry.mean[0]
