"""Queries per second of a policy that plans for 8 environments at once, over those of one at a time.

Run: `python benchmarks/batched_inference.py [policy] [suite] [threads]`. Both use the same threads. A
chunk must be equal to the bit whoever shares its forward pass, and near that of a pass of one.
"""

from __future__ import annotations

import contextlib
import statistics
import sys
import time

import numpy as np

from vla_bench import PolicyCard, SuiteCard, load_card, make_policy, make_suite
from vla_bench.cards import PolicyInputs
from vla_bench.items import WorkItem
from vla_bench.policies.base import Observation, Policy
from vla_bench.registry import prepare_card
from vla_bench.suites.base import Suite, SuiteEnv

BATCH, ROUNDS, CALLS = 8, 5, 20


def main(name: str = "anchorvla", on: str = "ms-hab-mini", threads: str = "2") -> None:
    suite = make_suite(load_card(SuiteCard, on))
    suite.prepare()
    card = load_card(PolicyCard, name).override({"threads": threads})
    card = prepare_card(card, suite.card)
    alone, together = (make_policy(card, suite.card, batch) for batch in (1, BATCH))
    observations = seen(suite, card)
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


def seen(suite: Suite, card: PolicyCard) -> list[Observation]:
    """The first observations of one task's items. Noise would not do: it is so far from the
    demonstrations that softmax meets exponents it is slow at.
    """
    items = suite.items(next(iter(suite.card.tasks)), trials=1)[: 2 * BATCH]
    with contextlib.closing(suite.make_env(items[0].task, cameras=card.inputs.images)) as env:
        return [first(env, item, card.inputs) for item in items]


def first(env: SuiteEnv, item: WorkItem, inputs: PolicyInputs) -> Observation:
    env.begin(item)
    return Observation.shown(env.observe(images=bool(inputs.images)), item, 0, inputs)


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
