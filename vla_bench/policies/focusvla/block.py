"""One layer of the focused policy: actions attend to themselves, to action queries and to vision."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from vla_bench.errors import UserError
from vla_bench.policies.focusvla.config import FocusConfig
from vla_bench.policies.focusvla.gate import make_gate


class Seen(NamedTuple):
    """What a layer reads of the context."""

    queries: Tensor
    """(B, n, width): action queries and the state."""
    keys: Tensor
    """(B, Nv, width): what visual keys are made of."""
    values: Tensor
    """(B, Nv, width): what visual values are made of."""


class FocusBlock(nn.Module):
    """Cascaded attention with focus attention (FocusVLA, eqs 6-11), or mixed attention (eqs 1-5).

    Queries are shared, keys and values are each stream's own. There is no projection behind an attention
    but the fusion, which is one linear layer, as is the feed-forward network: with more of either the
    policy would have more parameters than the paper's.

    Args:
        width: Size of a token.
        config: Settings.
    """

    def __init__(self, width: int, config: FocusConfig) -> None:
        super().__init__()
        self.config = config
        self.query = nn.Linear(width, width)
        self.action_keys, self.action_values = nn.Linear(width, width), nn.Linear(width, width)
        self.query_keys, self.query_values = nn.Linear(width, width), nn.Linear(width, width)
        self.vision_keys, self.vision_values = nn.Linear(width, width), nn.Linear(width, width)
        self.gate = make_gate(config, width)
        self.fuse = nn.Linear(width if config.attention == "mixed" else 3 * width, width)
        self.feed_forward = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width), nn.ReLU())

    def forward(self, x: Tensor, seen: Seen) -> tuple[Tensor, Tensor]:
        """Latents (B, P, width) -> the same, and the weights of vision (B, heads, P, Nv)."""
        attend = self._mixed if self.config.attention == "mixed" else self._cascaded
        read, weights = attend(x, seen)
        fused = self.fuse(read)
        if self.config.ffn_residual:
            return x + self.feed_forward(fused), weights
        return self.feed_forward(x + fused), weights

    def _cascaded(self, x: Tensor, seen: Seen) -> tuple[Tensor, Tensor]:
        """Three attentions, (B, P, 3 width)."""
        follow = self.config.cascade == "sequential"
        query = self.query(x)
        own = self._plain(query, self.action_keys(x), self.action_values(x))
        if follow:
            x = x + own
            query = self.query(x)
        asked = self._plain(query, self.query_keys(seen.queries), self.query_values(seen.queries))
        if follow:
            x = x + asked
            query = self.query(x)
        weights = torch.softmax(self._vision_logits(query, seen), dim=-1)
        looked = self._read(weights, self.vision_values(seen.values))
        return torch.cat([own, asked, self.gate(x, looked)], dim=-1), weights

    def _mixed(self, x: Tensor, seen: Seen) -> tuple[Tensor, Tensor]:
        """One softmax over the three streams, (B, P, width); a gate is on what vision contributes."""
        query = self.query(x)
        keys = torch.cat([self.action_keys(x), self.query_keys(seen.queries)], dim=1)
        values = torch.cat([self.action_values(x), self.query_values(seen.queries)], dim=1)
        logits = torch.cat([self._logits(query, keys), self._vision_logits(query, seen)], dim=-1)
        weights = torch.softmax(logits, dim=-1)
        others, vision = weights[..., : keys.shape[1]], weights[..., keys.shape[1] :]
        looked = self._read(vision, self.vision_values(seen.values))
        fused: Tensor = self._read(others, values) + self.gate(x, looked)
        return fused, vision

    def _plain(self, query: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        return self._read(torch.softmax(self._logits(query, keys), dim=-1), values)

    def _logits(self, query: Tensor, keys: Tensor) -> Tensor:
        """(B, heads, P, n)."""
        split = self._split(query)
        logits: Tensor = split @ self._split(keys).transpose(-1, -2) * split.shape[-1] ** -0.5
        return logits

    def _vision_logits(self, query: Tensor, seen: Seen) -> Tensor:
        """Gated logits of vision, minus infinity where a token is not kept."""
        scores = self._logits(query, self.vision_keys(seen.keys))
        return keep_top(self.gate.logits(scores), scores, self.config)

    def _read(self, weights: Tensor, values: Tensor) -> Tensor:
        """(B, heads, P, n) and (B, n, width) -> (B, P, width)."""
        return (weights @ self._split(values)).transpose(1, 2).flatten(2)

    def _split(self, x: Tensor) -> Tensor:
        """(B, n, width) -> (B, heads, n, head width)."""
        heads = self.config.heads
        return x.reshape(*x.shape[:-1], heads, x.shape[-1] // heads).transpose(1, 2)


def keep_top(logits: Tensor, scores: Tensor, config: FocusConfig) -> Tensor:
    """Patch-level focus (eqs 9 and 10): minus infinity but at the tokens with the best scores.

    Args:
        logits: (B, heads, P, Nv), to be masked.
        scores: Same shape, before any gate: one at zero would leave nothing to choose by.
        config: How many are kept, and who chooses.

    Raises:
        UserError: More tokens are to be kept than there are.
    """
    kept = tokens_kept(config.topk, scores.shape[-1])
    if kept == scores.shape[-1]:
        return logits
    if config.topk_scope != "head_query":
        scores = scores.mean((1, 2) if config.topk_scope == "shared" else 1, keepdim=True)
    mask = torch.full_like(scores, float("-inf"))
    return logits + mask.scatter(-1, scores.topk(kept, dim=-1).indices, 0.0)


def tokens_kept(topk: float, tokens: int) -> int:
    """How many of so many visual tokens are kept; where there are none, none.

    Raises:
        UserError: More than there are.
    """
    if isinstance(topk, float):
        return min(tokens, max(1, round(topk * tokens)))
    if topk > tokens > 0:
        raise UserError(
            f"head.topk={topk}: expected 1 to {tokens}, the visual tokens of an observation; "
            "use --set head.topk=1.0 to keep all"
        )
    return min(topk, tokens)
