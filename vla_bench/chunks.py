"""Executes action chunks: H actions of each, or an ensemble of all chunks that reach a step."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Chunk = NDArray[np.float32]


class ChunkPlayer:
    """Hands out one action per step from the chunks planned so far.

    Args:
        horizon: Execution horizon H: a plan is due every H steps.
        ensembling: Coefficient m of temporal ensembling, or None. With it, an action is the mean of all
            predictions for its step with weights exp(-m i), i = 0 for the oldest (ACT, Zhao et al. 2023,
            section IV-A).
    """

    def __init__(self, horizon: int, ensembling: float | None = None) -> None:
        self.horizon = horizon
        self.ensembling = ensembling
        self._chunks: list[tuple[int, Chunk]] = []

    def due(self, step: int) -> bool:
        """Whether a chunk has to be planned before this step is played."""
        return not self._chunks or step >= self._chunks[-1][0] + self.horizon

    def add(self, step: int, chunk: Chunk) -> None:
        """Takes a chunk, float32 (chunk length, action size), whose first action is for `step`."""
        if self.ensembling is None:
            self._chunks = []
        self._chunks = [(s, c) for s, c in self._chunks if step < s + len(c)] + [(step, chunk)]

    def age(self, step: int) -> int:
        """Steps since the latest chunk was planned."""
        return step - self._chunks[-1][0]

    def action(self, step: int) -> Chunk:
        """The action to play at a step, float32 (action size,)."""
        predictions = np.stack([c[step - s] for s, c in self._chunks if step < s + len(c)])
        if self.ensembling is None:
            return np.array(predictions[-1])
        weights = np.exp(-self.ensembling * np.arange(len(predictions)))
        mean: Chunk = np.average(predictions, axis=0, weights=weights).astype(np.float32)
        return mean
