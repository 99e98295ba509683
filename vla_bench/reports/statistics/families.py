"""Many policies on the same items: adjusted p-values, compact letters, rank sets."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from string import ascii_letters

import numpy as np
from numpy.typing import NDArray

from vla_bench.reports.statistics.pairs import Pairs, mcnemar

LEVEL = 0.05
"""Probability of any false difference in a family of comparisons."""


@dataclass(frozen=True)
class Ranking:
    """What can be said about the order of K policies, each compared with each."""

    adjusted: Mapping[tuple[int, int], float]
    """Holm-adjusted p-value of each pair of rows (i, j), i < j."""
    letters: Sequence[str]
    """Of each row; two policies share a letter exactly if they do not differ significantly."""
    rank_sets: Sequence[tuple[int, int]]
    """Of each row the best and the worst rank that it may have, from 1:
    `(1 + policies significantly better, K - policies significantly worse)`."""


def rank(outcomes: NDArray[np.bool_]) -> Ranking:
    """Compares every policy with every other by McNemar's exact test, Holm-adjusted at family level .05.

    Each item counts the same: with equally many items per task that is the mean over tasks.

    Args:
        outcomes: Success of each policy (row) on each item (column), bool (K, items), K >= 1.
    """
    pairs = list(combinations(range(len(outcomes)), 2))
    p_values = [mcnemar(Pairs.of(outcomes[i], outcomes[j])) for i, j in pairs]
    adjusted = dict(zip(pairs, holm(p_values), strict=True))
    different = [pair for pair, p in adjusted.items() if p <= LEVEL]
    successes = [int(row.sum()) for row in outcomes]
    better, worse = [0] * len(outcomes), [0] * len(outcomes)
    for i, j in different:
        winner, loser = (i, j) if successes[i] > successes[j] else (j, i)
        better[loser] += 1
        worse[winner] += 1
    rank_sets = [(1 + up, len(outcomes) - down) for up, down in zip(better, worse, strict=True)]
    order = sorted(range(len(outcomes)), key=lambda row: -successes[row])
    return Ranking(adjusted, compact_letters(order, different), rank_sets)


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusts the p-values of a family so that each can be held against the family's level.

    The i-th smallest of m is multiplied by m - i + 1; none may fall below a smaller one's (Holm 1979,
    Scandinavian Journal of Statistics 6).

    Args:
        p_values: Those of all comparisons of the family, in any order.

    Returns:
        The adjusted ones in the same order, at most 1.
    """
    adjusted = [0.0] * len(p_values)
    least = 0.0
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    for place, index in enumerate(order):
        least = max(least, min(1.0, (len(p_values) - place) * p_values[index]))
        adjusted[index] = least
    return adjusted


def compact_letters(order: Sequence[int], different: Collection[tuple[int, int]]) -> list[str]:
    """Letters such that two policies share one exactly if they do not differ.

    Insert and absorb (Piepho 2004, Journal of Computational and Graphical Statistics 13): from one letter
    that all have, each difference splits every letter that both have in two; a letter whose policies
    all have another one too is dropped.

    Args:
        order: The policies 0 ... K-1, best first; the best one's first letter is "a".
        different: The pairs that differ.

    Returns:
        The letters of each policy, in alphabetical order; past "Z" they are ".a", ".b" and so on.
    """
    groups = [frozenset(order)]
    for i, j in different:
        split = [
            part
            for group in groups
            for part in ((group - {i}, group - {j}) if {i, j} <= group else (group,))
        ]
        groups = [g for g in dict.fromkeys(split) if not any(g < other for other in split)]
    place = {policy: number for number, policy in enumerate(order)}
    groups.sort(key=lambda group: sorted(place[policy] for policy in group))
    return [
        "".join(_letter(number) for number, group in enumerate(groups) if policy in group)
        for policy in range(len(order))
    ]


def _letter(number: int) -> str:
    dots, letter = divmod(number, len(ascii_letters))
    return "." * dots + ascii_letters[letter]
