"""Action tokens to actions by a small network: parallel decoding with an absolute error."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from vla_bench.errors import UserError
from vla_bench.nn.backbone import Context
from vla_bench.nn.dit import ChunkSizes
from vla_bench.policies.learned.head import (
    ActionHead,
    HeadSettings,
    Settings,
    Windows,
)


class OftConfig(HeadSettings):
    """What a plain head is built with."""

    kind: Literal["oft"] = "oft"
    state: Literal["tokens", "beside"] = "tokens"
    """`tokens`: the state reaches the head through the backbone's action tokens alone, as in OpenVLA-OFT;
    `beside`: its token also stands beside each of them. The paper does not say how state enters; small
    backbones need it beside, for the state alone tells most of what to do."""

    def sampling(self) -> OftSampling:
        """See `HeadSettings.sampling`."""
        return OftSampling()


class OftSampling(Settings):
    """A plain head has nothing to choose."""


class OftHead(ActionHead):
    """The last hidden state of each action token -> two linear layers -> one action of the chunk.

    The base of DeepVision-VLA, QwenVLA-OFT (OpenVLA-OFT, Kim et al. 2025, section IV).

    Args:
        config: Settings.
        sizes: What the head is built for.
    """

    def __init__(self, config: OftConfig, sizes: ChunkSizes) -> None:
        super().__init__()
        self.sizes, self.beside = sizes, config.state == "beside"
        self.layers = nn.Sequential(
            nn.Linear(sizes.width * (1 + self.beside), sizes.width),
            nn.GELU(),
            nn.Linear(sizes.width, sizes.action_size),
        )

    def loss(
        self, context: Context, windows: Windows, generator: torch.Generator
    ) -> dict[str, Tensor]:
        """Mean absolute error."""
        return {"total": windows.mean((self._regress(context) - windows.chunks).abs())}

    def _regress(self, context: Context) -> Tensor:
        tokens = context.queries[-1]
        if tokens.shape[1] != self.sizes.chunk_length:
            raise UserError(
                f"a head of kind oft reads one action token per action: expected "
                f"{self.sizes.chunk_length}, the chunk length, found {tokens.shape[1]}; "
                f"use --set backbone.queries={self.sizes.chunk_length}"
            )
        if self.beside:
            tokens = torch.cat([tokens, context.proprioception.expand_as(tokens)], dim=-1)
        out: Tensor = self.layers(tokens)
        return out

    def noise_size(self) -> Sequence[int]:
        """None."""
        return ()

    def sample(self, context: Context, noise: Tensor, sampling: Settings) -> Tensor:
        """The regressed chunk."""
        return self._regress(context)

    def attention(self, context: Context) -> dict[str, Tensor]:
        """What the backbone shows: the map that pruning went by, and what it kept."""
        return dict(context.maps)
