"""How often intervals hold what they should, and how often tests err: by counting where that can be done.

python benchmarks/error_rates.py                 # about three minutes of CPU
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binom

from vla_bench.reports.statistics.intervals import mean_interval, wilson
from vla_bench.reports.statistics.pairs import Pairs, mcnemar, mean_difference, paired_interval
from vla_bench.reports.statistics.sequential import ALPHA, Verdict, decide, e_value
from vla_bench.reports.statistics.unpaired import independent_difference

SIZES = (10, 20, 50, 100, 200, 500)
RATES = (0.02, *(round(0.05 * i, 2) for i in range(1, 20)), 0.98)
Rates = Sequence[float] | NDArray[np.float64]
e_of = cache(e_value)
decided = cache(decide)
paired = cache(paired_interval)


def main() -> None:
    print("Wilson's interval, counted:")
    for n in SIZES:
        print(f"  n = {n}, 21 rates: {coverage(wilson_coverage(n, RATES), RATES)}")
    fine = np.linspace(0.02, 0.98, 961)
    found = {n: wilson_coverage(n, fine) for n in range(10, 501)}
    means = {n: c.mean() for n, c in found.items()}
    least = min(found, key=lambda n: found[n].min())
    enough = np.mean([c >= 0.94 for c in found.values()])
    print(f"  every n = 10 ... 500, 961 rates: mean at least {100 * min(means.values()):.2f} %;")
    print(f"  {100 * enough:.1f} % of points at 94 % or more;")
    print(f"  lowest at n = {least}: {coverage(found[least], fine)}")
    print("Mean over 10 tasks of .05 ... .95, 20,000 draws:")
    for n in SIZES:
        print(
            f"  n = {n} a task: {100 * mean_coverage(np.linspace(0.05, 0.95, 10), n, 20000):.2f} %"
        )
    print("Difference of two independent rates, counted, 21 x 21 rates:")
    for n, m in ((10, 10), (20, 50), (50, 50), (100, 500)):
        c = unpaired_coverage(n, m, RATES)
        print(f"  n = {n} and {m}: mean {100 * c.mean():.2f} %, least {100 * c.min():.2f} %")
    print("Difference of two rates on the same items, 171 tables, 4,000 draws each:")
    for n in SIZES:
        cells = tables()
        c = np.array([paired_coverage(cell, n, 4000) for cell in cells])
        print(f"  n = {n}: mean {100 * c.mean():.2f} %, least {100 * c.min():.2f} %")
    print("Mean over 10 tasks of paired differences, 4,000 draws:")
    for n in SIZES[:-1]:
        print(f"  n = {n} a task: {100 * mean_difference_coverage(n, 4000):.2f} %")
    print(
        "McNemar's exact test, counted: size, power where the second gains 10 points more than it loses"
    )
    for n in SIZES:
        size = max(mcnemar_rejects(n, d, 0.5) for d in np.linspace(0.01, 1, 100))
        power = ", ".join(
            f"{100 * mcnemar_rejects(n, d, (1 + 0.1 / d) / 2):.1f} %" for d in (0.1, 0.2, 0.4)
        )
        print(
            f"  n = {n}: size at most {100 * size:.2f} %; power {power} (10, 20, 40 % discordant)"
        )
    print("Sequential test, looked at after each discordant item up to 500, counted:")
    for q in (0.5, 0.6, 0.7, 0.8, 0.9):
        crossed = crossing(500, q)
        print(f"  second wins {100 * q:.0f} % of them: shown by 20, 50, 100, 500:", end=" ")
        print(", ".join(f"{100 * crossed[n - 1]:.2f} %" for n in (20, 50, 100, 500)))
    print("Gate, 10 looks, margin 10 points, 7 tasks of different difficulty, 4,000 draws:")
    print("  items | difference | discordant | worse | not worse | undecided | items saved")
    for n in (140, 350, 1000):
        for shift in (0.0, -0.1, -0.2):
            for discordant in (0.1, 0.2, 0.4):
                if discordant > abs(shift):
                    print(
                        f"  {n} | {shift:+.2f} | {discordant} |", gate(n, shift, discordant, 4000)
                    )


def coverage(found: NDArray[np.float64], rates: Rates) -> str:
    least = int(found.argmin())
    return (
        f"mean {100 * found.mean():.2f} %, least {100 * found[least]:.2f} % at {rates[least]:.3f}"
    )


def wilson_coverage(n: int, rates: Rates) -> NDArray[np.float64]:
    """Probability that the 95 % interval holds the rate, for each rate."""
    successes = np.arange(n + 1)
    low, high = np.array([wilson(k, n) for k in range(n + 1)]).T
    return np.array(
        [binom.pmf(successes, n, p)[(low <= p) & (p <= high)].sum() for p in rates], np.float64
    )


def mean_coverage(rates: NDArray[np.float64], n: int, draws: int) -> float:
    """How often the interval of a mean over tasks holds it."""
    counts = np.random.default_rng(0).binomial(n, rates, (draws, len(rates)))
    held = 0
    for row in counts.tolist():
        low, high = mean_interval([k / n for k in row], [wilson(k, n) for k in row])
        held += low <= rates.mean() <= high
    return held / draws


def unpaired_coverage(n: int, m: int, rates: Rates) -> NDArray[np.float64]:
    """Probability that the interval holds the difference, (first rate, second rate)."""
    bounds = np.array(
        [
            [
                independent_difference(k / n, wilson(k, n), j / m, wilson(j, m))[1]
                for j in range(m + 1)
            ]
            for k in range(n + 1)
        ]
    )
    first = np.array([binom.pmf(np.arange(n + 1), n, p) for p in rates])
    second = np.array([binom.pmf(np.arange(m + 1), m, p) for p in rates])
    return np.array(
        [
            [
                one
                @ ((bounds[..., 0] <= q - p + 1e-12) & (q - p <= bounds[..., 1] + 1e-12))
                @ other
                for q, other in zip(rates, second, strict=True)
            ]
            for p, one in zip(rates, first, strict=True)
        ],
        np.float64,
    )


def tables() -> list[tuple[float, float, float, float]]:
    """Probabilities of both, only second, only first, neither: multiples of .05, no rate beyond .95."""
    steps = range(1, 20)
    found = {
        (round(both / 20, 2), round(gained / 20, 2), round(lost / 20, 2))
        for both in steps
        for gained in range(0, 10, 2)
        for lost in range(0, gained + 1, 2)
        if both + lost >= 1 and both + gained <= 19 and both + gained + lost <= 20
    }
    return [(b, g, c, max(0.0, round(1 - b - g - c, 2))) for b, g, c in sorted(found)]


def paired_coverage(cell: Sequence[float], n: int, draws: int) -> float:
    """How often the interval of a difference on the same items holds it."""
    drawn = np.random.default_rng(0).multinomial(n, cell, draws)
    held = 0
    for row in drawn.tolist():
        _, (low, high) = paired(*row)
        held += low <= cell[1] - cell[2] <= high
    return held / draws


def mean_difference_coverage(n: int, draws: int) -> float:
    """The same of the mean over ten tasks, from easy to hard."""
    cells = np.array(
        [(r * 0.9, 0.2 * (1 - r), 0.1 * r, 0.8 * (1 - r)) for r in np.linspace(0, 1, 10)]
    )
    truth = float((cells[:, 1] - cells[:, 2]).mean())
    generator = np.random.default_rng(0)
    held = 0
    for _ in range(draws):
        rows = [generator.multinomial(n, cell).tolist() for cell in cells]
        _, (low, high) = mean_difference([Pairs(b, lost, won, no) for b, won, lost, no in rows])
        held += low <= truth <= high
    return held / draws


def mcnemar_rejects(n: int, discordant: float, second: float) -> float:
    """Probability of p <= .05 for n items, a share of them discordant, and of those a share won."""
    return float(
        sum(binom.pmf(count, n, discordant) * _rejects(count, second) for count in range(n + 1))
    )


def _rejects(count: int, second: float) -> float:
    most = _critical(count)
    return float(binom.cdf(most, count, second) + binom.sf(count - most - 1, count, second))


@cache
def _critical(count: int) -> int:
    """Most items of the loser's at which p <= .05; -1 if there is no such number."""
    lost = _critical(count - 1) if count > 1 else -1
    while mcnemar(Pairs(0, lost + 1, count - lost - 1, 0)) <= 0.05:
        lost += 1
    return lost


def crossing(count: int, second: float) -> NDArray[np.float64]:
    """Probability that the second has been shown to be better by the 1st, 2nd, ... discordant item."""
    alive = np.zeros(count + 1)  # by how many the second has won
    alive[0] = 1.0
    crossed = np.zeros(count)
    total = 0.0
    for seen in range(1, count + 1):
        alive[1:] = alive[1:] * (1 - second) + alive[:-1] * second
        alive[0] *= 1 - second
        need = _needed(seen)
        total += alive[need:].sum()
        alive[need:] = 0
        crossed[seen - 1] = total
    return crossed


@cache
def _needed(seen: int) -> int:
    """Wins of the second that show it to be better; one more than there are if none do."""
    won = _needed(seen - 1) if seen > 1 else 1
    while won <= seen and e_of(Pairs(0, seen - won, won, 0)) < 1 / ALPHA:
        won += 1
    return won


def gate(items: int, shift: float, discordant: float, draws: int, tasks: int = 7) -> str:
    """Verdicts of a gate, and the share of items that it leaves unplayed."""
    verdicts, saved = verdicts_of(items, shift, discordant, draws, tasks)
    shares = " | ".join(f"{100 * verdicts.count(v) / draws:.2f} %" for v in Verdict)
    return f"{shares} | {100 * saved:.0f} %"


def verdicts_of(
    items: int, shift: float, discordant: float, draws: int, tasks: int = 7, margin: float = 0.1
) -> tuple[list[Verdict], float]:
    """Gates whose candidate gains and loses items at rates that spread around a mean over the tasks."""
    spread = np.linspace(-1, 1, tasks) * (discordant - abs(shift)) / 2
    gained, lost = (discordant + shift) / 2 + spread / 2, (discordant - shift) / 2 + spread / 2
    cells = np.stack([gained, lost, 1 - gained - lost], -1)
    looks = 10
    drawn = np.random.default_rng(0).multinomial(
        items // tasks // looks, cells, (draws, looks, tasks)
    )
    totals = drawn.sum(2).cumsum(1)
    verdicts, played = [], 0
    for draw in totals.tolist():
        verdict = Verdict.undecided
        for won, less, tied in draw:
            played += 1
            verdict = decided(Pairs(tied, less, won, 0), margin)
            if verdict is not Verdict.undecided:
                break
        verdicts.append(verdict)
    return verdicts, 1 - played / (looks * draws)


if __name__ == "__main__":
    main()
