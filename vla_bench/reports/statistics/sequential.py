"""A test that may be looked at as often as one likes while items come in, and stopped at any look."""

from __future__ import annotations

from enum import StrEnum
from math import exp, log

import numpy as np
from scipy.special import logsumexp

from vla_bench.reports.statistics.pairs import Pairs

ALPHA = 0.05
"""Probability of either false verdict, over all looks together."""
BETS = (np.arange(200) + 0.5) / 200
"""Shares of the capital that are bet, each with an equal part of it; all in (0, 1)."""


class Verdict(StrEnum):
    """What has been shown about the second policy."""

    worse = "worse"
    """It succeeds less often than the first."""
    not_worse = "not worse"
    """If it succeeds less often than the first, then by less than the margin."""
    undecided = "undecided"
    """Neither yet."""


def e_value(pairs: Pairs, margin: float = 0.0) -> float:
    """Evidence against the hypothesis that the second policy is worse by `margin` or more.

    Let D be +1 where only the second succeeds, -1 where only the first does, else 0; the hypothesis is
    that the mean of D is at most -margin. A gambler who bets a share b of the capital on D, at odds that
    are fair if it holds, has, from 1,

        K_b = prod over items of (1 + b (D + margin)),   0 < b < 1,

    and `e_value` is the mean of K_b over `BETS` (Waudby-Smith and Ramdas 2024, "Estimating means of
    bounded random variables by betting", Journal of the Royal Statistical Society B 86). With margin 0
    it is the likelihood ratio of the discordant items, q = (1 + b) / 2 against 1/2, mixed over b.

    Let the items of a task be independent, with mean m_t of D, and each look come after as many items of
    each task as of any other. If the mean of m_t over the tasks is at most -margin, then a set of one
    item a task has E[prod (1 + b (D + margin))] = prod (1 + b (m_t + margin)) <= 1, as a geometric
    mean is at most the arithmetic one. So `e_value` is a nonnegative supermartingale from look to look,
    and it ever reaches 1 / alpha with probability alpha at most (Ville 1939).

    Args:
        pairs: The items so far.
        margin: In [0, 1].

    Returns:
        The capital: 1 at the start, large if the hypothesis is wrong.
    """
    capital = (
        pairs.only_second * np.log1p(BETS * (margin + 1))
        + pairs.only_first * np.log1p(BETS * (margin - 1))
        + (pairs.total - pairs.discordant) * np.log1p(BETS * margin)
    )
    return exp(min(float(logsumexp(capital)) - log(len(BETS)), 700.0))


def decide(pairs: Pairs, margin: float) -> Verdict:
    """What the items so far have shown, each verdict false with probability `ALPHA` at most.

    `worse` where both hold: a policy may be worse, and by less than the margin.

    Args:
        pairs: The items so far; the first policy is the baseline.
        margin: How much less often the second may succeed and still be `not_worse`, in [0, 1].
    """
    if e_value(pairs.swapped) >= 1 / ALPHA:
        return Verdict.worse
    if e_value(pairs, margin) >= 1 / ALPHA:
        return Verdict.not_worse
    return Verdict.undecided
