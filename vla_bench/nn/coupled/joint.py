"""Shared attention of a language layer and an expert layer (VL-MoT; DeepVision-VLA, section "Method")."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from vla_bench.nn.coupled.branch import Projected, Rotation, attend, merged, rotated, split

Start = Literal["gated", "open"]


@dataclass(frozen=True)
class Side:
    """One branch's part of a shared attention: its own, positions applied, and who sees whom in it."""

    projected: Projected
    bias: Tensor
    """(B, 1, n, n): minus infinity where a token does not see another one of its branch."""


@dataclass(frozen=True)
class ExpertPlaces:
    """Where the expert's tokens are, for attention in the language model's head space."""

    embedding: Tensor | None = None
    """(B, n, expert width) added to what is mapped to queries and keys."""
    rotation: Rotation | None = None
    """Rotary positions of the mapped queries and keys."""


class Bridge(nn.Module):
    """Couples an expert layer with a language layer.

    The expert's queries, keys and values are mapped to the language layer's heads, both branches' tokens
    attend together, and what the expert's tokens attended to is mapped back. Output projection, residual
    and feed-forward remain each branch's own. Mapped queries and keys are normalised per head (RMS), so
    that two branches of other scales share a softmax; the paper does not say whether its are.

    Args:
        expert_width: Size of an expert token.
        heads: Heads of the language layer.
        key_value_heads: Its key-value heads.
        head_width: Size of its heads.
        start: `gated` blends what a branch attends to alone with what it attends to together, by a tanh
            gate that starts at zero: at first both pretrained branches compute what they did.
            `open` is the shared attention alone.
    """

    def __init__(
        self,
        *,
        expert_width: int,
        heads: int,
        key_value_heads: int,
        head_width: int,
        start: Start,
    ) -> None:
        super().__init__()
        self.heads, self.key_value_heads = heads, key_value_heads
        self.query = nn.Linear(expert_width, heads * head_width, bias=False)
        self.key = nn.Linear(expert_width, key_value_heads * head_width, bias=False)
        self.value = nn.Linear(expert_width, key_value_heads * head_width, bias=False)
        self.back = nn.Linear(heads * head_width, expert_width, bias=False)
        self.query_norm, self.key_norm = nn.RMSNorm(head_width), nn.RMSNorm(head_width)
        self.gates = nn.Parameter(torch.zeros(2)) if start == "gated" else None
        """Of the language branch, then of the expert; None if there is nothing to blend."""

    def mapped(self, unplaced: Projected, places: ExpertPlaces) -> Projected:
        """The expert's queries, keys and values, without positions, in the language layer's heads."""
        queries, keys, values = (merged(x) for x in unplaced)
        if places.embedding is not None:
            queries, keys = queries + places.embedding, keys + places.embedding
        queries = self.query_norm(split(self.query(queries), self.heads))
        keys = self.key_norm(split(self.key(keys), self.key_value_heads))
        values = split(self.value(values), self.key_value_heads)
        return rotated(Projected(queries, keys, values), places.rotation)

    def forward(
        self, language: Side, expert: Side, mapped: Projected, bias: Tensor
    ) -> tuple[Tensor, Tensor]:
        """What both branches attend to.

        Args:
            language: The language layer's own part.
            expert: The expert layer's own part.
            mapped: From `mapped`.
            bias: From `joint_bias`.

        Returns:
            Of the language tokens (B, n, heads * head width), and of the expert's (B, m, expert width).
        """
        together = attend(joined(mapped, language.projected), bias)
        count = mapped.queries.shape[2]
        ours, theirs = together[:, count:], self.back(together[:, :count])
        if self.gates is not None:
            first, second = torch.tanh(self.gates)
            ours = _blend(attend(language.projected, language.bias), ours, first)
            theirs = _blend(attend(expert.projected, expert.bias), theirs, second)
        return ours, theirs


def _blend(alone: Tensor, together: Tensor, gate: Tensor) -> Tensor:
    return alone + gate * (together - alone)


def joined(mapped: Projected, language: Projected) -> Projected:
    """The expert's tokens, then the language model's."""
    queries, keys, values = (torch.cat(pair, dim=2) for pair in zip(mapped, language, strict=True))
    return Projected(queries, keys, values)


def joint_bias(language: Tensor, padding: Tensor, expert: int, expert_sees: bool) -> Tensor:
    """Who sees whom among [expert | language] tokens.

    Expert tokens see each other and are seen by all. A causal prompt token so learns of later tokens one
    layer later, through the expert: harmless for regression, wrong for generating text.

    Args:
        language: (B, 1, n, n), minus infinity where a language token does not see another one.
        padding: bool (B, n), language tokens that nobody sees.
        expert: Number m of expert tokens.
        expert_sees: Whether expert tokens see language tokens.

    Returns:
        (B, 1, m + n, m + n).
    """
    batch, _, tokens, _ = language.shape
    bias = language.new_zeros(batch, 1, expert + tokens, expert + tokens)
    bias[:, :, expert:, expert:] = language
    hidden = padding if expert_sees else torch.ones_like(padding)
    bias[:, :, :expert, expert:].masked_fill_(hidden[:, None, None], float("-inf"))
    return bias
