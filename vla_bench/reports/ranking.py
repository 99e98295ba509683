"""Which runs may be ranked with each other, on which items, and what their order is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from vla_bench.reports.comparable import differences
from vla_bench.reports.measured import MeasuredRun
from vla_bench.reports.statistics.families import Ranking, rank

MOST_ERRORS = 0.01
"""A run with a larger share of harness errors is not ranked."""


@dataclass(frozen=True)
class Order:
    """The order of some runs, as far as it is known; runs are named by their place in the argument."""

    ranked: Sequence[int]
    """Most successes first; none unless there are two."""
    unranked: Mapping[int, str]
    """Why each of the others is not ranked."""
    items: Sequence[str]
    """Clean items that the ranking is of."""
    ranking: Ranking | None
    """Of the ranked runs, in their order."""


def obstacle(run: MeasuredRun) -> str:
    """Why a run cannot be ranked, whatever it is held against; empty if nothing is in the way."""
    manifest, episodes = run.manifest, len(run.episodes)
    if run.missing:
        return f"{run.missing} of {episodes} episodes are missing"
    if manifest.mismatches:
        return f"a mismatch was allowed: {manifest.mismatches[0]}"
    if manifest.input_control != "none":
        return f"input control {manifest.input_control}"
    if manifest.delay:
        return f"reaction delay of {manifest.delay} control steps"
    if run.harness_errors > MOST_ERRORS * episodes:
        return f"{run.harness_errors} of {episodes} episodes failed in the harness"
    return ""


def order_of(
    runs: Sequence[MeasuredRun], obstacle: Callable[[MeasuredRun], str] = obstacle
) -> Order:
    """Ranks the runs that can be ranked on one set of items, which each of them has recorded.

    Of all sets that some run has, it is the one with most episodes of at least two runs.

    Args:
        runs: Runs of one suite.
        obstacle: Says why a run cannot be ranked; empty if it can.
    """
    reasons = {place: obstacle(run) for place, run in enumerate(runs)}
    able = [place for place in reasons if not reasons[place]]
    items = _items([runs[place] for place in able])
    wanted = set(items)
    whole = [place for place in able if wanted <= set(runs[place].clean.index)]
    for place in able:
        reasons[place] = _unlike(runs[place], runs[whole[0]], items)
    ranked = [place for place in able if not reasons[place]]
    if len(ranked) < 2:
        reasons |= dict.fromkeys(ranked, "no other run to be ranked with")
        return Order([], reasons, [], None)
    won = {place: runs[place].clean["success"].loc[items].to_numpy(np.bool_) for place in ranked}
    ranked.sort(key=lambda place: -int(won[place].sum()))
    ranking = rank(np.array([won[place] for place in ranked]))
    return Order(ranked, {place: why for place, why in reasons.items() if why}, items, ranking)


def _items(runs: Sequence[MeasuredRun]) -> list[str]:
    """The items to rank on, in the order of the run that they are taken from."""
    sets = [set(run.clean.index) for run in runs]

    def worth(place: int) -> tuple[bool, int, int]:
        own = sets[place]
        count = sum(own <= other for other in sets)
        return count >= 2, count * len(own), len(own)

    return list(runs[max(range(len(runs)), key=worth)].clean.index) if runs else []


def _unlike(run: MeasuredRun, reference: MeasuredRun, items: Sequence[str]) -> str:
    """Why a run cannot be ranked on some items with a run that has them."""
    shared = int(run.clean.index.isin(items).sum())
    if shared < len(items):
        return f"has {shared} of the {len(items)} episodes ranked on"
    refusals = differences(reference, run).refusals
    more = f", and {len(refusals) - 1} more" if len(refusals) > 1 else ""
    return f"not comparable with {reference.name}: {refusals[0]}{more}" if refusals else ""
