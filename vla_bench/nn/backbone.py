"""What a vision-language backbone makes of an observation, and the contract that all backbones keep."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Context:
    """One query's context: computed once, read by every denoising step, anchor and layer of a head.

    B is the batch, L the number of layers, d the width; index 0 of a per-layer tuple is the input of the
    first layer.
    """

    vision: tuple[Tensor, ...]
    """L+1 tensors (B, visual tokens, d): hidden states at the visual tokens."""
    queries: tuple[Tensor, ...]
    """L+1 tensors (B, action queries, d): hidden states at the action-query tokens."""
    proprioception: Tensor
    """(B, 1, d): the embedded state vector."""
    raw_vision: Tensor
    """(B, visual tokens, vision width): features of the vision tower before they are projected."""
    grid: tuple[int, int, int]
    """Views, rows and columns of the visual tokens; their order is view, row, column."""
    attention: tuple[Tensor, ...] = ()
    """L tensors (B, heads, action queries, visual tokens), if asked for."""
    maps: dict[str, Tensor] = field(default_factory=dict)
    """What the backbone has to show, by name: (B, views, rows, columns), e.g. what pruning went by."""
    losses: dict[str, Tensor] = field(default_factory=dict)
    """Scalars that the backbone adds to the loss of the actions while it is trained, by name."""

    def pooled(self) -> Tensor:
        """Mean of the last action-query states beside the state token, (B, 2 d)."""
        return torch.cat([self.queries[-1].mean(1), self.proprioception[:, 0]], dim=-1)


class Backbone(nn.Module, ABC):
    """Encodes images, an instruction and a state vector into a `Context`.

    Attributes:
        width: Size d of a token.
        layers: Number L of layers whose states the context holds.
        raw_width: Size of the vision tower's features before they are projected.
    """

    width: int
    layers: int
    raw_width: int

    @abstractmethod
    def forward(
        self,
        images: Tensor,
        instructions: Sequence[str],
        proprioception: Tensor,
        need_attention: bool = False,
    ) -> Context:
        """Encodes a batch of observations.

        Args:
            images: uint8 (B, views, 3, height, width); views may be 0.
            instructions: B instructions.
            proprioception: float32 (B, state size), normalised.
            need_attention: Whether the context holds the attention from action queries to vision.
        """
