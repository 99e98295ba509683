"""The language model's layers, run one by one, with whatever an expert adds to them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from vla_bench.nn.backbone import Masked
from vla_bench.nn.coupled.branch import (
    BranchLayer,
    Projected,
    Rotation,
    attend,
    attention_weights,
    rotated,
)


@dataclass(frozen=True)
class Language:
    """A language model's layers and the sequence that they are about to read.

    Attributes:
        layers: The layers.
        x: (B, n, d), the embedded sequence.
        bias: (B, 1, n, n), minus infinity where a token does not see another one.
        padding: bool (B, n), tokens that nobody but themselves sees.
        vision: int64 (Nv,), positions of the visual tokens; the same in all samples.
        instruction: Positions of the instruction, padding included.
        actions: Positions of the action tokens.
        grid: Views, rows and columns of the visual tokens.
        rotation: Rotary positions of all tokens.
        finer: Rotary positions of an expert's tokens, (views, prefix + patches, head width).
        norm: Applied to what the last layer gives.
        added: Of some layers (B, Nv, d), added to the visual tokens behind the layer.
        masked: Visual tokens to zero at a layer.
    """

    layers: Sequence[BranchLayer]
    x: Tensor
    bias: Tensor
    padding: Tensor
    vision: Tensor
    instruction: slice
    actions: slice
    grid: tuple[int, int, int]
    norm: nn.Module
    rotation: Rotation | None = None
    finer: Rotation | None = None
    added: Mapping[int, Tensor] = field(default_factory=dict)
    masked: Masked | None = None

    def shown(self, x: Tensor, number: int) -> Tensor:
        """States (B, n, d) in front of layer `number`, with the visual tokens zeroed that are to be."""
        if self.masked is None or number != self.masked.layer:
            return x
        zeroed = torch.zeros(x.shape[:2], dtype=torch.bool, device=x.device)
        zeroed[:, self.vision] = self.masked.tokens
        return x.masked_fill(zeroed[..., None], 0.0)


class Trace:
    """Runs the layers and keeps their states and what was asked for of their attention.

    Args:
        language: The layers and their sequence.
        need_attention: Whether the attention of the action tokens to vision is kept.
    """

    def __init__(self, language: Language, need_attention: bool) -> None:
        self.language = language
        self.need_attention = need_attention
        self.states = [language.shown(language.x, 0)]
        self.attention: list[Tensor] = []

    @property
    def x(self) -> Tensor:
        """(B, n, d), what the next layer reads."""
        return self.states[-1]

    @property
    def number(self) -> int:
        """Number of the next layer, from 0."""
        return len(self.states) - 1

    def project(self) -> Projected:
        """Queries, keys and values of the next layer, positions applied."""
        return rotated(self.language.layers[self.number].project(self.x), self.language.rotation)

    def seen(self, projected: Projected, rows: slice) -> Tensor:
        """Attention of some rows to vision, (B, heads, rows, Nv)."""
        bias = self.language.bias[:, :, rows]
        weights = attention_weights(projected.queries[:, :, rows], projected.keys, bias)
        return weights[..., self.language.vision]

    def finish(self, attended: Tensor) -> None:
        """Ends the next layer with what its tokens attended to, (B, n, heads * head width)."""
        language, number = self.language, self.number
        x = language.layers[number].finish(self.x, attended)
        if number in language.added:
            x = x.index_add(1, language.vision, language.added[number].to(x.dtype))
        if number + 1 == len(language.layers):
            x = language.norm(x)
        self.states.append(language.shown(x, number + 1))

    def step(self) -> Projected:
        """Runs the next layer alone."""
        projected = self.project()
        if self.need_attention:
            self.attention.append(self.seen(projected, self.language.actions))
        self.finish(attend(projected, self.language.bias))
        return projected
