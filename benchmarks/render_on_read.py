"""CPU per episode with every observation rendered, over CPU with only the read ones rendered (H = 8).

Run: `python benchmarks/render_on_read.py [pairs]`
"""

from __future__ import annotations

import dataclasses
import statistics
import sys

from vla_bench import PolicyCard, Settings, SuiteCard, load_card, make_policy, make_suite, play
from vla_bench.cards import PolicyInputs


def main(pairs: int) -> None:
    suite = make_suite(load_card(SuiteCard, "ms-hab-mini"))
    suite.prepare()
    inputs = PolicyInputs(images=["head", "wrist"], state={"qpos": 12})
    card = load_card(PolicyCard, "random").model_copy(update={"inputs": inputs})
    policy = make_policy(card, suite.card)
    on_read = Settings(horizon=8, max_steps=200, outcome="latched", inputs=inputs)
    always = dataclasses.replace(on_read, observe_every_step=True)
    env = suite.make_env("close-drawer")
    items = suite.items("close-drawer", trials=1)
    play(env, policy, items[0], dataclasses.replace(on_read, max_steps=8))  # compiles the shaders
    ratios = []
    for item in items[1 : pairs + 1]:
        skipping, rendering = (play(env, policy, item, s) for s in (on_read, always))
        assert skipping.outcome() == rendering.outcome(), "skipping changed the episode"
        ratios.append(rendering.cpu_s / skipping.cpu_s)
        print(
            f"{item.index}: every step {rendering.cpu_s:.2f} s, on read {skipping.cpu_s:.2f} s CPU"
        )
    env.close()
    print(f"ratio, median of {pairs}: {statistics.median(ratios):.2f}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
