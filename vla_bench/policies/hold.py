"""A policy that does nothing: every action is zero. A success of it is a bug of the suite."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vla_bench.policies.base import ActionChunks, Observation, Policy


class HoldPolicy(Policy):
    """Plans chunks of zeros."""

    def plan(self, observations: Sequence[Observation]) -> ActionChunks:
        """Zeros, float32 (batch, chunk length, action size)."""
        shape = (len(observations), self.card.chunk_length, self.action_size)
        return np.zeros(shape, np.float32)
