"""A diffusion transformer over action chunks that reads a backbone's context layer by layer."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vla_bench.nn.attention import feed_forward
from vla_bench.nn.backbone import Context


@dataclass(frozen=True)
class ChunkSizes:
    """What a chunk transformer, and the action head around it, is built for."""

    action_size: int
    """Entries A of an action."""
    chunk_length: int
    """Actions P of a chunk."""
    width: int
    """Size of a token, the backbone's width."""
    layers: int
    """Blocks, the backbone's layers."""
    views: int = 0
    """Camera images per observation."""
    raw_width: int = 0
    """Size of the vision tower's features before they are projected."""
    text_width: int = 0
    """Size of the vector that describes a text."""


@dataclass(frozen=True)
class ContextMemory:
    """What a `ChunkTransformer` needs of a context; depends on no anchor and no denoising step."""

    keys: tuple[Tensor, ...]
    """One tensor per block, (B, heads, context tokens, head width)."""
    values: tuple[Tensor, ...]
    """Same shapes as the keys."""
    pooled: Tensor
    """(B, width): the embedded pooled context."""


class ChunkTransformer(nn.Module):
    """Maps candidate chunks to features, block l reading the context of backbone layer l.

    Each action is a token. A block is AdaLN-modulated (Peebles and Xie 2023, section 3.2) and attends
    with one softmax to the candidate's own tokens, to action queries and state, and to vision, whose
    logits carry a tanh gate (VLA-Adapter, Wang et al. 2025, section 3.3).

    Args:
        sizes: What it is built for.
        heads: Attention heads.
    """

    def __init__(self, sizes: ChunkSizes, heads: int) -> None:
        super().__init__()
        width = sizes.width
        self.embed = nn.Linear(sizes.action_size, width)
        self.place = nn.Parameter(0.02 * torch.randn(sizes.chunk_length, width))
        self.pooled = nn.Sequential(nn.Linear(2 * width, width), nn.SiLU(), nn.Linear(width, width))
        self.blocks = nn.ModuleList(_Block(width, heads) for _ in range(sizes.layers))
        self.norm = nn.LayerNorm(width)

    def remember(self, context: Context) -> ContextMemory:
        """Projects a context once per query."""
        keys, values = [], []
        for block, queries, vision in zip(
            self.blocks, context.queries[1:], context.vision[1:], strict=True
        ):
            assert isinstance(block, _Block)
            k, v = block.project_context(
                torch.cat([queries, context.proprioception], dim=1), vision
            )
            keys.append(k)
            values.append(v)
        return ContextMemory(tuple(keys), tuple(values), self.pooled(context.pooled()))

    def forward(self, chunks: Tensor, memory: ContextMemory, extra: Tensor | None = None) -> Tensor:
        """Features of candidate chunks.

        Args:
            chunks: (B, candidates, chunk length, action size).
            memory: From `remember`.
            extra: (B, width) added to the pooled context, e.g. an embedded timestep.

        Returns:
            (B, candidates, chunk length, width), normalised.
        """
        condition = memory.pooled if extra is None else memory.pooled + extra
        x = self.embed(chunks) + self.place
        for block, keys, values in zip(self.blocks, memory.keys, memory.values, strict=True):
            x = block(x, keys, values, condition)
        normed: Tensor = self.norm(x)
        return normed


class _Block(nn.Module):
    """Attention and feed-forward with AdaLN-zero modulation."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.attention_norm = nn.LayerNorm(width, elementwise_affine=False)
        self.forward_norm = nn.LayerNorm(width, elementwise_affine=False)
        self.query_key_value = nn.Linear(width, 3 * width)
        self.context_key_value = nn.Linear(width, 2 * width)
        self.vision_gate = nn.Parameter(torch.zeros(()))
        self.out = nn.Linear(width, width)
        self.feed_forward = feed_forward(width)
        last = nn.Linear(width, 6 * width)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.modulation = nn.Sequential(nn.SiLU(), last)

    def project_context(self, tokens: Tensor, vision: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values of (B, n, width) tokens followed by (B, Nv, width) visual tokens."""
        keys, values = self.context_key_value(torch.cat([tokens, vision], dim=1)).chunk(2, dim=-1)
        gate = torch.ones(keys.shape[1], 1, device=keys.device, dtype=keys.dtype)
        gate[tokens.shape[1] :] = torch.tanh(self.vision_gate)
        return self._split(keys * gate), self._split(values)

    def forward(self, x: Tensor, keys: Tensor, values: Tensor, condition: Tensor) -> Tensor:
        """(B, candidates, P, width) -> the same; keys and values as `project_context` gives them."""
        parts = self.modulation(condition)[:, None, None].chunk(6, dim=-1)
        shift, scale, gate, shift_forward, scale_forward, gate_forward = parts
        normed = self.attention_norm(x) * (1 + scale) + shift
        x = x + gate * self._attend(normed, keys, values)
        normed = self.forward_norm(x) * (1 + scale_forward) + shift_forward
        out: Tensor = x + gate_forward * self.feed_forward(normed)
        return out

    def _attend(self, x: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """One softmax over a candidate's own tokens and the context, which all candidates share."""
        batch, candidates, length, _ = x.shape
        parted = (batch, self.heads, candidates, length)
        parts = self.query_key_value(x).reshape(batch, candidates, length, 3, self.heads, -1)
        query, key, value = parts.permute(3, 0, 4, 1, 2, 5).contiguous()
        query = query * query.shape[-1] ** -0.5
        own = query @ key.transpose(-1, -2)
        # All candidates' tokens are rows of one product, so that the context is never repeated.
        shared = query.flatten(2, 3) @ keys.transpose(-1, -2)
        weights = torch.softmax(torch.cat([own, shared.reshape(*parted, -1)], dim=-1), dim=-1)
        own, shared = weights[..., :length], weights[..., length:]
        read = shared.flatten(2, 3) @ values
        attended = own @ value + read.reshape(*parted, -1)
        out: Tensor = self.out(attended.permute(0, 2, 3, 1, 4).flatten(3))
        return out

    def _split(self, x: Tensor) -> Tensor:
        """(..., n, width) -> (..., heads, n, head width)."""
        return x.reshape(*x.shape[:-1], self.heads, -1).transpose(-2, -3)
