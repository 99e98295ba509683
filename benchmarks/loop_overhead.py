"""CPU of the episode loop over that of a bare simulator loop doing the same reads.

Run: `python benchmarks/loop_overhead.py [pairs]`
"""

from __future__ import annotations

import hashlib
import statistics
import sys
import time

from vla_bench import (
    PolicyCard,
    Settings,
    SuiteCard,
    SuiteEnv,
    WorkItem,
    load_card,
    make_policy,
    make_suite,
    play,
)
from vla_bench.cards import PolicyInputs
from vla_bench.policies.base import Observation, Policy

HORIZON = 8
STEPS = 200


def bare(env: SuiteEnv, policy: Policy, item: WorkItem) -> float:
    """The simulator, the policy and the reads of the loop, with nothing around them; CPU in s."""
    start = time.process_time()
    env.begin(item)
    states = hashlib.sha256(env.world_probe().encode() + env.state_bytes())
    for step in range(STEPS):
        if step % HORIZON == 0:
            raw = env.observe()
            observation = Observation(item, step, item.instruction, raw["images"], raw["state"])
            chunk = policy.plan([observation])[0]
        env.advance(chunk[step % HORIZON])
        states.update(env.state_bytes())
    return time.process_time() - start


def main(pairs: int) -> None:
    suite = make_suite(load_card(SuiteCard, "ms-hab-mini"))
    suite.prepare()
    inputs = PolicyInputs(images=["head", "wrist"], state={"qpos": 12})
    card = load_card(PolicyCard, "random").model_copy(update={"inputs": inputs})
    policy = make_policy(card, suite.card)
    settings = Settings(horizon=HORIZON, max_steps=STEPS, outcome="latched", inputs=inputs)
    env = suite.make_env("close-drawer")
    items = suite.items("close-drawer", trials=1)
    bare(env, policy, items[0])  # compiles the shaders
    ratios = []
    for number, item in enumerate(items[1 : pairs + 1]):
        # In turn first and second, so that a machine that warms up favours neither.
        if number % 2:
            loop = play(env, policy, item, settings).cpu_s
            alone = bare(env, policy, item)
        else:
            alone = bare(env, policy, item)
            loop = play(env, policy, item, settings).cpu_s
        ratios.append(loop / alone)
        print(f"{item.index}: loop {loop:.3f} s, bare {alone:.3f} s CPU")
    env.close()
    print(f"overhead, median of {pairs}: {100 * (statistics.median(ratios) - 1):+.2f} %")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 20)
