"""Query rate of the anchored head over that of the un-anchored one, both with 10 denoising steps.

Run: `python benchmarks/anchored_rate.py [pairs] [suite] [key=value ...]`; the settings are those of
`vla-bench profile`. With suite ms-hab the policies are full-size (9 GB with `backbone.lora_rank=0`).
"""

from __future__ import annotations

import dataclasses
import statistics
import sys
import time

import torch

from vla_bench.nn.dit import ChunkSizes
from vla_bench.policies.learned.head import ActionHead, Settings
from vla_bench.policies.learned.heads import make_head
from vla_bench.policies.learned.policy import sampling_of
from vla_bench.policies.learned.subject import ProfileSpec, Queries, find_subject

STEPS = "10"


@dataclasses.dataclass(frozen=True)
class Contender:
    """A head that plans from the same backbone as the other."""

    head: ActionHead
    noise: torch.Tensor
    sampling: Settings

    def seconds(self, queries: Queries) -> float:
        """Wall-clock time of one query, backbone included (s)."""
        queries.model.head, queries.noise, queries.sampling = self.head, self.noise, self.sampling
        start = time.perf_counter()
        queries.plan()
        return time.perf_counter() - start


def main(pairs: int, suite: str, settings: dict[str, str]) -> None:
    anchored, plain = (
        find_subject(ProfileSpec(policy, suite, settings={"steps": STEPS, **settings}))
        for policy in ("anchorvla", "diffusion")
    )
    torch.set_num_threads(int(str(anchored.card.options["threads"])))
    queries = Queries(anchored, anchored.loaded("cpu"), batch=1)
    backbone, recipe = queries.model.backbone, plain.recipe
    sizes = ChunkSizes(
        action_size=plain.suite.action.size or 0,
        chunk_length=recipe.chunk_length,
        width=backbone.width,
        layers=backbone.layers,
    )
    head = make_head(recipe.head, sizes).eval()
    noise = torch.randn(1, *head.noise_size())
    without = Contender(head, noise, sampling_of(plain.card))
    anchors = Contender(queries.model.head, queries.noise, queries.sampling)
    for contender in (anchors, without):
        contender.seconds(queries)
    times = []
    for number in range(pairs):
        # In turn first and second, so that a machine that warms up favours neither.
        order = (anchors, without) if number % 2 else (without, anchors)
        spent = {id(contender): contender.seconds(queries) for contender in order}
        times.append((spent[id(anchors)], spent[id(without)]))
    for name, column in zip(("with", "without"), zip(*times, strict=True), strict=True):
        print(f"{name} anchors: median {1e3 * statistics.median(column):.1f} ms")
    ratio = statistics.median(plain_s / anchored_s for anchored_s, plain_s in times)
    print(
        f"rate with anchors over rate without, median of {pairs}: {ratio:.2f} "
        f"(P={recipe.chunk_length}, {torch.get_num_threads()} threads)"
    )


if __name__ == "__main__":
    numbers, names, pairs_of = (sys.argv[1:2], sys.argv[2:3], sys.argv[3:])
    main(
        int(numbers[0]) if numbers else 50,
        names[0] if names else "ms-hab-mini",
        dict(setting.split("=", 1) for setting in pairs_of),
    )
