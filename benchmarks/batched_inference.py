"""Queries per second of a policy that plans for 8 environments at once, over those of one at a time.

Run: `python benchmarks/batched_inference.py [policy] [suite] [threads]`. Both use the same threads. A
chunk must be equal to the bit whoever shares its forward pass, and near that of a pass of one.
"""

from __future__ import annotations

import statistics
import sys
import time

import numpy as np

from vla_bench import PolicyCard, SuiteCard, load_card, make_policy, make_suite
from vla_bench.policies.base import Observation, Policy
from vla_bench.registry import prepare_card

BATCH, ROUNDS, CALLS = 8, 5, 20


def main(name: str = "anchorvla", on: str = "ms-hab-mini", threads: str = "2") -> None:
    suite = make_suite(load_card(SuiteCard, on))
    suite.prepare()
    card = load_card(PolicyCard, name).override({"threads": threads})
    card = prepare_card(card, suite.card)
    alone, together = (make_policy(card, suite.card, batch) for batch in (1, BATCH))
    observations = seen(card, suite.card, suite.items(next(iter(suite.card.tasks)), trials=1))
    check(alone, together, observations)
    rates: dict[int, list[float]] = {1: [], BATCH: []}
    for _ in range(ROUNDS):
        rates[1].append(queries_per_s(alone, observations[:1]))
        rates[BATCH].append(queries_per_s(together, observations[:BATCH]))
    ratio = statistics.median(b / a for a, b in zip(*rates.values(), strict=True))
    print(
        f"{name} on {on}, {threads} threads: {statistics.median(rates[1]):.0f} queries/s at batch 1, "
        f"{statistics.median(rates[BATCH]):.0f} at batch {BATCH}: {ratio:.2f} times "
        f"(median of {ROUNDS} pairs)"
    )


def seen(card: PolicyCard, suite: SuiteCard, items: list) -> list[Observation]:
    """Observations of noise: what they show does not matter to the time."""
    made = []
    for item in items[: 2 * BATCH]:
        draw = np.random.default_rng(item.seed)
        images = {
            n: draw.integers(0, 256, (*suite.cameras[n], 3), np.uint8) for n in card.inputs.images
        }
        state = {n: draw.normal(size=s).astype(np.float32) for n, s in card.inputs.state.items()}
        hidden = {
            n: draw.normal(size=s).astype(np.float32) for n, s in card.inputs.privileged.items()
        }
        made.append(Observation(item, 0, item.instruction, images, state, hidden))
    return made


def check(alone: Policy, together: Policy, observations: list[Observation]) -> None:
    """Compares chunks planned alone, in one company and in another, and by themselves in a full pass."""
    first = together.plan(observations[:BATCH])
    others = together.plan([*observations[BATCH:-1], observations[0]])
    by_itself = together.plan(observations[:1])
    assert np.array_equal(first[0], others[-1])
    assert np.array_equal(first[0], by_itself[0])
    single = np.concatenate([alone.plan([o]) for o in observations[:BATCH]])
    print(f"largest difference from a pass of one: {np.abs(first - single).max():.1e}")


def queries_per_s(policy: Policy, observations: list[Observation]) -> float:
    times = []
    for _ in range(CALLS):
        start = time.perf_counter()
        policy.plan(observations)
        times.append(time.perf_counter() - start)
    return len(observations) / statistics.median(times)


if __name__ == "__main__":
    main(*sys.argv[1:])
