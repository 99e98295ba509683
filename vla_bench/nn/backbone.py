"""What a vision-language backbone makes of an observation, and the contract that all backbones keep."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

PHRASES = ("gripper",)
"""What a context describes besides the instruction, for heads that look for it in the images."""


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
    raw_grid: tuple[int, int, int] = (0, 0, 0)
    """Views, rows and columns of `raw_vision`; those of `grid` if left out."""
    text: Tensor = field(default_factory=lambda: torch.empty(0))
    """(B, text width): the instruction in one vector; equal instructions have equal ones."""
    phrases: Mapping[str, Tensor] = field(default_factory=dict)
    """Each of `PHRASES` in one vector (text width,)."""

    def __post_init__(self) -> None:
        if not any(self.raw_grid):
            object.__setattr__(self, "raw_grid", self.grid)

    def pooled(self) -> Tensor:
        """Mean of the last action-query states beside the state token, (B, 2 d)."""
        return torch.cat([self.queries[-1].mean(1), self.proprioception[:, 0]], dim=-1)


@dataclass(frozen=True)
class Masked:
    """Visual tokens that are zeroed at one layer, to ask what the plan owes to them.

    What later layers make of them, and what heads read of earlier layers or of `Context.raw_vision`, is
    left as it is.
    """

    layer: int
    """0 is the input of the first layer, L what the last layer gives to heads."""
    tokens: Tensor
    """bool (B, visual tokens): which ones."""

    def applied(self, states: Tensor, layer: int, first: int) -> Tensor:
        """Hidden states (B, n, d) of a layer, whose visual tokens begin at index `first`."""
        if layer != self.layer:
            return states
        after = states.shape[1] - first - self.tokens.shape[1]
        zeroed = nn.functional.pad(self.tokens, (first, after))
        return states.masked_fill(zeroed[..., None], 0.0)


class Backbone(nn.Module, ABC):
    """Encodes images, an instruction and a state vector into a `Context`.

    Attributes:
        width: Size d of a token.
        layers: Number L of layers whose states the context holds.
        raw_width: Size of the vision tower's features before they are projected.
        text_width: Size of the vector that describes a text.
    """

    width: int
    layers: int
    raw_width: int
    text_width: int

    @abstractmethod
    def forward(
        self,
        images: Tensor,
        instructions: Sequence[str],
        proprioception: Tensor,
        need_attention: bool = False,
        masked: Masked | None = None,
    ) -> Context:
        """Encodes a batch of observations.

        Args:
            images: uint8 (B, views, 3, height, width); views may be 0.
            instructions: B instructions.
            proprioception: float32 (B, state size), normalised.
            need_attention: Whether the context holds the attention from action queries to vision.
            masked: Visual tokens to zero at a layer.
        """

    def parts(self) -> dict[str, nn.Module]:
        """What it is made of, by name, for counting."""
        return dict(self.named_children())

    @abstractmethod
    def describe(self, texts: Sequence[str]) -> Tensor:
        """Each text in one vector, whatever the other texts are: (texts, text width)."""

    def described(self, instructions: Sequence[str]) -> tuple[Tensor, dict[str, Tensor]]:
        """What `Context.text` and `Context.phrases` hold; equal instructions are described once."""
        texts = list(dict.fromkeys([*instructions, *PHRASES]))
        vectors = self.describe(texts)
        rows = torch.tensor([texts.index(text) for text in instructions], device=vectors.device)
        return vectors[rows], {phrase: vectors[texts.index(phrase)] for phrase in PHRASES}
