"""Which runs of a suite may be ranked with each other, how they rank, and why the others may not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np

from vla_bench.reports.comparable import differences
from vla_bench.reports.page.entries import Entry
from vla_bench.reports.statistics.families import Ranking, rank

MOST_ERRORS = 0.01
"""A run with a larger share of harness errors is not ranked."""
LEAST_SHARED = 0.5
"""Share of the largest run's items that another run must have played to be ranked with it."""


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
    """Ranks the largest set of runs whose success rates may be compared."""
    reasons = {entry.label: reason for entry in entries if (reason := _unfit(entry))}
    fit = sorted(
        (entry for entry in entries if entry.label not in reasons), key=lambda e: -len(e.run.clean)
    )
    groups: list[list[Entry]] = []
    for entry in fit:
        group = next((group for group in groups if not _apart(group[0], entry)), None)
        if group is None:
            groups.append([entry])
        else:
            group.append(entry)
    chosen = max(groups, key=len, default=[])
    reasons |= {e.label: _apart(chosen[0], e) for e in fit if e not in chosen}
    items = _shared(chosen)
    if len(chosen) < 2 or not items:
        return Standing([], reasons, [], None)
    ranked = sorted(chosen, key=lambda entry: -(entry.mean or (0.0,))[0])
    ranking = rank(np.array([entry.outcomes(items) for entry in ranked]))
    return Standing(ranked, reasons, items, ranking)


def _unfit(entry: Entry) -> str:
    """Why a run may be ranked with no other; empty if it may."""
    manifest, rows = entry.run.manifest, entry.rows
    missing, errors = sum(row.missing for row in rows), sum(row.harness_errors for row in rows)
    if manifest.input_control != "none":
        return f"not ranked: input control {manifest.input_control}"
    if manifest.delay:
        return f"not ranked: reaction delay of {manifest.delay} control steps"
    if manifest.mismatches:
        return f"not ranked: a mismatch was allowed ({manifest.mismatches[0]})"
    if missing:
        return f"not ranked: {missing} of {len(entry.run.clean)} episodes are missing"
    if errors > MOST_ERRORS * len(entry.run.clean):
        return f"not ranked: {errors} of {len(entry.run.clean)} episodes failed in the harness"
    return ""


def _apart(first: Entry, other: Entry) -> str:
    """Why two runs may not be ranked together; empty if they may."""
    refusals = differences(first.run, other.run).refusals
    if refusals:
        more = f", and {len(refusals) - 1} more" if len(refusals) > 1 else ""
        return f"not ranked: not comparable with {first.label} ({refusals[0]}{more})"
    shared, items = len(first.recorded & other.recorded), len(first.run.clean)
    if shared < LEAST_SHARED * items:
        return f"not ranked: played only {shared} of the {items} items of {first.label}"
    return ""


def _shared(entries: Sequence[Entry]) -> Sequence[str]:
    """Clean items that all have played, in the order of the first."""
    if not entries:
        return []
    common = reduce(frozenset.intersection, [entry.recorded for entry in entries])
    return [item for item in entries[0].run.clean.index if item in common]
