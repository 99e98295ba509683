"""One transformer layer in three steps, so that another branch can join its attention."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from vla_bench.nn.attention import Layer

Rotation = tuple[Tensor, Tensor]
"""Cosines and sines of rotary positions, each broadcastable to (B, heads, tokens, head width)."""


class Projected(NamedTuple):
    """Queries (B, heads, n, head width); keys and values (B, key-value heads, n, head width)."""

    queries: Tensor
    keys: Tensor
    values: Tensor


class BranchLayer(ABC):
    """A pre-norm transformer layer whose attention is computed outside."""

    @abstractmethod
    def project(self, x: Tensor) -> Projected:
        """Normalises tokens (B, n, d) and projects them; positions are not applied."""

    @abstractmethod
    def finish(self, x: Tensor, attended: Tensor) -> Tensor:
        """Output projection, residual and feed-forward.

        Args:
            x: (B, n, d), what went into `project`.
            attended: (B, n, heads * head width).

        Returns:
            (B, n, d).
        """

    def run(self, x: Tensor, rotation: Rotation | None, bias: Tensor | None) -> Tensor:
        """The whole layer, its tokens attending to each other; `bias` as in `attend`."""
        return self.finish(x, attend(rotated(self.project(x), rotation), bias))


@dataclass(frozen=True)
class PlainLayer(BranchLayer):
    """A layer of `nn.attention`."""

    layer: Layer

    def project(self, x: Tensor) -> Projected:
        """See `BranchLayer.project`."""
        attention, normed = self.layer.attention, self.layer.attention_norm(x)
        keys, values = attention.project(normed)
        return Projected(split(attention.query(normed), attention.heads), keys, values)

    def finish(self, x: Tensor, attended: Tensor) -> Tensor:
        """See `BranchLayer.finish`."""
        x = x + self.layer.attention.out(attended)
        out: Tensor = x + self.layer.feed_forward(self.layer.forward_norm(x))
        return out


def split(x: Tensor, heads: int) -> Tensor:
    """(B, n, heads * head width) -> (B, heads, n, head width)."""
    return x.reshape(*x.shape[:-1], heads, -1).transpose(1, 2)


def merged(x: Tensor) -> Tensor:
    """(B, heads, n, head width) -> (B, n, heads * head width)."""
    return x.transpose(1, 2).flatten(2)


def rotated(projected: Projected, rotation: Rotation | None) -> Projected:
    """Applies rotary positions (Su et al. 2021) to queries and keys; None applies none."""
    if rotation is None:
        return projected
    queries, keys, values = projected
    return Projected(_rotate(queries, rotation), _rotate(keys, rotation), values)


def _rotate(x: Tensor, rotation: Rotation) -> Tensor:
    cos, sin = rotation
    first, second = x.chunk(2, dim=-1)
    return (x * cos + torch.cat([-second, first], dim=-1) * sin).to(x.dtype)


def attend(projected: Projected, bias: Tensor | None) -> Tensor:
    """Attention of tokens to each other.

    Args:
        projected: Queries, keys and values; fewer key-value heads are shared by neighbouring heads.
        bias: Added to the logits, broadcastable to (B, heads, n, n).

    Returns:
        (B, n, heads * head width).
    """
    queries, keys, values = projected
    shared = queries.shape[1] // keys.shape[1]
    if shared > 1:
        keys, values = (x.repeat_interleave(shared, dim=1) for x in (keys, values))
    bias = None if bias is None else bias.to(queries.dtype)
    return merged(functional.scaled_dot_product_attention(queries, keys, values, attn_mask=bias))


def attention_weights(queries: Tensor, keys: Tensor, bias: Tensor | None) -> Tensor:
    """The weights that `attend` uses, float32 (B, heads, queries, keys).

    Args:
        queries: (B, heads, queries, head width).
        keys: (B, key-value heads, keys, head width).
        bias: As in `attend`, of these queries.
    """
    keys = keys.repeat_interleave(queries.shape[1] // keys.shape[1], dim=1)
    logits = (queries @ keys.transpose(-1, -2)).float() * queries.shape[-1] ** -0.5
    return torch.softmax(logits if bias is None else logits + bias, dim=-1)
