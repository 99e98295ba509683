"""How the runs of a suite rank, under the labels of the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from vla_bench.reports.page.entries import Entry
from vla_bench.reports.ranking import order_of
from vla_bench.reports.statistics.families import Ranking


@dataclass(frozen=True)
class Standing:
    """The order of some runs, as far as it is known."""

    ranked: Sequence[Entry]
    """Highest mean first; none unless there are two."""
    unranked: Mapping[str, str]
    """Label -> why not."""
    items: Sequence[str]
    """Clean items that all ranked runs have played."""
    ranking: Ranking | None

    def rank_set(self, entry: Entry) -> tuple[int, int]:
        """Best and worst rank that a ranked run may have."""
        assert self.ranking is not None
        return self.ranking.rank_sets[self.ranked.index(entry)]

    def letters(self, entry: Entry) -> str:
        """Letters of a ranked run."""
        assert self.ranking is not None
        return self.ranking.letters[self.ranked.index(entry)]


def standing_of(entries: Sequence[Entry]) -> Standing:
    """Ranks the runs whose success rates may be compared."""
    order = order_of([entry.run for entry in entries])
    return Standing(
        ranked=[entries[place] for place in order.ranked],
        unranked={entries[n].label: f"not ranked: {why}" for n, why in order.unranked.items()},
        items=order.items,
        ranking=order.ranking,
    )
