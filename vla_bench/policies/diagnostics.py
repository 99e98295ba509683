"""What a policy may show of how it plans: the hooks of `vla-bench inspect`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from vla_bench.policies.base import Observation

Floats = NDArray[np.float32]
Grid = tuple[int, int, int]
"""Views, in the order of the policy card's `inputs.images`, rows and columns."""


@dataclass(frozen=True)
class CandidateChunks:
    """The chunks that a policy chose from."""

    chunks: Floats
    """(M, P, A), actions as they are played."""
    scores: Floats
    """(M,), the larger the better."""
    chosen: int
    """Which one is played."""


class Diagnostics:
    """How a policy plans from one observation; a policy overrides what it can show.

    Attributes:
        layers: Layers L whose visual tokens `plan_masked` can zero; None if it cannot.
    """

    layers: int | None = None

    def attention(self, observation: Observation) -> Mapping[str, Floats]:
        """Where the policy looks.

        Args:
            observation: With images.

        Returns:
            By name, non-negative maps over the images: (views, rows, columns) as in `Grid`.
        """
        return {}

    def candidates(self, observation: Observation) -> CandidateChunks | None:
        """What the chunk planned from an observation was chosen from; None if there was no choice."""
        return None

    def grid(self, observation: Observation) -> Grid:
        """The visual tokens that `plan_masked` can zero: cells of equal size of each image."""
        raise NotImplementedError

    def plan_masked(
        self, observation: Observation, layer: int, tokens: NDArray[np.bool_]
    ) -> Floats:
        """The chunks planned where some visual tokens are zeroed at one layer, all else being equal.

        Args:
            observation: With images.
            layer: 0 is the input of the first layer, L what the last one gives.
            tokens: (n, views, rows, columns), for each chunk which ones.

        Returns:
            (n, P, A), normalised units.
        """
        raise NotImplementedError
