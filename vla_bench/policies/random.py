"""A policy that draws every action entry uniformly: the floor of any table."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vla_bench.policies.base import ActionChunks, Observation, Policy


class RandomPolicy(Policy):
    """Plans chunks of independent uniform draws in [-1, 1)."""

    def plan(self, observations: Sequence[Observation]) -> ActionChunks:
        """Draws from each item's own generator, so that a batch changes nothing."""
        shape = (self.card.chunk_length, self.action_size)
        return np.stack(
            [
                o.item.generator(f"random/{o.step}").uniform(-1, 1, shape).astype(np.float32)
                for o in observations
            ]
        )
