"""Which runs may be ranked with each other, on which items, and what their ranks are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vla_bench.reports.comparable import differences
from vla_bench.reports.leaderboard.entries import Entry
from vla_bench.reports.statistics.families import rank

MOST_ERRORS = 0.01
"""A run with a larger share of harness errors is not ranked."""


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
    """Ranks the runs of one protocol that can be ranked.

    They are ranked on one set of items, which each of them has recorded: of all sets that some run has,
    the one with most episodes of at least two runs.
    """
    reasons = {id(entry): obstacle(entry) for entry in entries}
    able = [entry for entry in entries if not reasons[id(entry)]]
    items = _items(able)
    for entry in able:
        reasons[id(entry)] = _unlike(entry, able, items)
    ranked = [entry for entry in able if not reasons[id(entry)]]
    if len(ranked) == 1:
        reasons[id(ranked[0])] = "no other run to be ranked with"
        ranked = []
    places = _ranked(ranked, items)
    places += [Standing(e, unranked=reasons[id(e)]) for e in entries if reasons[id(e)]]
    places.sort(key=lambda place: (bool(place.unranked), -_mean(place.entry), place.entry.page))
    return Standings(places, len(items) if ranked else 0)


def obstacle(entry: Entry) -> str:
    """Why a run cannot be ranked, whatever it is held against; empty if nothing is in the way."""
    manifest, run = entry.manifest, entry.run
    tasks = len(entry.rows)
    if run.missing:
        return f"{run.missing} of {len(run.episodes)} episodes are missing"
    if manifest.mismatches:
        return f"a mismatch was allowed: {manifest.mismatches[0]}"
    if manifest.input_control != "none":
        return f"input control {manifest.input_control}"
    if manifest.delay:
        return f"reaction delay of {manifest.delay} control steps"
    if tasks < len(manifest.suite.tasks):
        return f"{tasks} of {len(manifest.suite.tasks)} tasks"
    if run.harness_errors > MOST_ERRORS * len(run.episodes):
        return f"{run.harness_errors} of {len(run.episodes)} episodes failed in the harness"
    return ""


def _mean(entry: Entry) -> float:
    return -1.0 if entry.mean is None else entry.mean[0]


def _items(entries: Sequence[Entry]) -> Sequence[str]:
    """The items to rank on, in the order of the run that they are taken from."""
    sets = {id(entry): set(entry.run.clean.index) for entry in entries}

    def worth(entry: Entry) -> tuple[bool, int, int]:
        own = sets[id(entry)]
        runs = sum(own <= other for other in sets.values())
        return runs >= 2, runs * len(own), len(own)

    return list(max(entries, key=worth).run.clean.index) if entries else []


def _unlike(entry: Entry, able: Sequence[Entry], items: Sequence[str]) -> str:
    """Why a run cannot be ranked on some items with the first run that has them."""
    shared = int(entry.run.clean.index.isin(items).sum())
    if shared < len(items):
        return f"has {shared} of the {len(items)} episodes ranked on"
    reference = next(e for e in able if e.run.clean.index.isin(items).sum() == len(items))
    return next(iter(differences(reference.run, entry.run).refusals), "")


def _ranked(entries: Sequence[Entry], items: Sequence[str]) -> list[Standing]:
    if not entries:
        return []
    outcomes = np.array(
        [entry.run.clean["success"].loc[list(items)].to_numpy() for entry in entries]
    )
    ranking = rank(outcomes.astype(bool))
    return [
        Standing(entry, letters=letters, rank_set=ranks)
        for entry, letters, ranks in zip(entries, ranking.letters, ranking.rank_sets, strict=True)
    ]
