"""One forward pass from learned action latents to a chunk, trained with an absolute error."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from pydantic import PositiveInt
from torch import Tensor, nn

from vla_bench.nn.backbone import Context
from vla_bench.nn.dit import ChunkSizes, ChunkTransformer
from vla_bench.policies.learned.head import (
    ActionHead,
    HeadSettings,
    Settings,
    Windows,
)


class L1Config(HeadSettings):
    """What a regression head is built with."""

    kind: Literal["l1"] = "l1"
    heads: PositiveInt = 4
    """Attention heads."""

    def sampling(self) -> L1Sampling:
        """See `HeadSettings.sampling`."""
        return L1Sampling()


class L1Sampling(Settings):
    """A regression head has nothing to choose."""


class L1Head(ActionHead):
    """Bridge attention over learned latents (VLA-Adapter, Wang et al. 2025, section 3.3).

    Args:
        config: Settings.
        sizes: What the head is built for.
    """

    def __init__(self, config: L1Config, sizes: ChunkSizes) -> None:
        super().__init__()
        self.sizes = sizes
        self.transformer = ChunkTransformer(sizes, config.heads)
        self.out = nn.Linear(sizes.width, sizes.action_size)

    def loss(
        self, context: Context, windows: Windows, generator: torch.Generator
    ) -> dict[str, Tensor]:
        """Mean absolute error."""
        return {"total": windows.mean((self._regress(context) - windows.chunks).abs())}

    def _regress(self, context: Context) -> Tensor:
        """The latents are the transformer's place embeddings: its input chunk is zero."""
        memory = self.transformer.remember(context)
        shape = (len(memory.pooled), 1, self.sizes.chunk_length, self.sizes.action_size)
        zeros = torch.zeros(shape, device=memory.pooled.device)
        out: Tensor = self.out(self.transformer(zeros, memory))[:, 0]
        return out

    def noise_size(self) -> Sequence[int]:
        """None."""
        return ()

    def sample(self, context: Context, noise: Tensor, sampling: Settings) -> Tensor:
        """The regressed chunk."""
        return self._regress(context)
