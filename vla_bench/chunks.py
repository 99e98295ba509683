"""Executes action chunks: H actions of each, or an ensemble of all chunks that reach a step."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Chunk = NDArray[np.float32]


class ChunkPlayer:
    """Hands out one action per step from the chunks planned so far, of which one is planned at a time.

    A chunk planned from the observation at step t is available from step t + D on, D being the delay. In
    the meantime the robot plays the rest of the previous chunk, and holds where that has no action left.

    - covered = min(D, actions of the previous chunk still unplayed at t), 0 for an episode's first chunk:
      the new chunk's first actions were for the steps that the previous one covered, and are skipped.
      Steps at which the robot held are not skipped.
    - The action with index k is for step s + k, s = t + D - covered.
    - The next observation to be planned from is that of step max(t + D, s + H): index H of the chunk, or
      the step at which it became available if index H is past by then.

    So D = 0 plans every H steps, and H = chunk length with D > 0 stops to think. A chunk is never used up
    before it is available: covered is at most its length less H.

    Args:
        horizon: Execution horizon H.
        ensembling: Coefficient m of temporal ensembling, or None. With it, an action is the mean of all
            available predictions for its step with weights exp(-m i), i = 0 for the oldest (ACT, Zhao et
            al. 2023, section IV-A).
        delay: Reaction delay D in control steps.
    """

    def __init__(self, horizon: int, ensembling: float | None = None, delay: int = 0) -> None:
        self.horizon = horizon
        self.ensembling = ensembling
        self.delay = delay
        self._chunks: list[tuple[int, Chunk]] = []
        self._asked: int | None = None

    def due(self, step: int) -> bool:
        """Whether a chunk has to be planned from the observation at this step."""
        if self._asked is not None:
            return False
        return not self._chunks or step >= self._chunks[-1][0] + self.horizon

    def ask(self, step: int) -> None:
        """Notes that a chunk is being planned from the observation at a step."""
        self._asked = step

    def arrives(self, step: int) -> bool:
        """Whether the chunk that is being planned is available from this step on."""
        return self._asked is not None and step >= self._asked + self.delay

    def add(self, chunk: Chunk) -> None:
        """Takes the chunk that arrives, float32 (chunk length, action size)."""
        assert self._asked is not None
        available = self._asked + self.delay
        start = available - min(self.delay, self._unplayed(self._asked))
        kept = self._chunks if self.ensembling is not None else []
        self._chunks = [(s, c) for s, c in kept if available < s + len(c)] + [(start, chunk)]
        self._asked = None

    def _unplayed(self, step: int) -> int:
        """Actions of the latest chunk for this step and later ones."""
        if not self._chunks:
            return 0
        start, chunk = self._chunks[-1]
        return max(0, start + len(chunk) - step)

    def index(self, step: int) -> int:
        """Index of a step's action in the latest chunk."""
        return step - self._chunks[-1][0]

    def action(self, step: int) -> Chunk | None:
        """The action to play at a step, float32 (action size,); None where the robot holds."""
        found = [c[step - s] for s, c in self._chunks if step < s + len(c)]
        if not found:
            return None
        if self.ensembling is None:
            return np.array(found[-1])
        weights = np.exp(-self.ensembling * np.arange(len(found)))
        mean: Chunk = np.average(np.stack(found), axis=0, weights=weights).astype(np.float32)
        return mean
