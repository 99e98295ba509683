"""Action-guided visual pruning: which of an expert's tokens are kept (DeepVision-VLA)."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

Scope = Literal["view", "joint"]
Interpolation = Literal["bilinear", "nearest"]


def relevance(weights: Tensor, rows: Tensor) -> Tensor:
    """How much some rows look at each visual token: the mean over heads and rows.

    Args:
        weights: (B, heads, rows, visual tokens), attention.
        rows: bool (B, rows), which rows count; a sample without any has relevance 0.

    Returns:
        Float32 (B, visual tokens), without gradient.
    """
    counted = rows[:, None, :, None].to(weights.dtype)
    total = (weights.detach() * counted).sum((1, 2))
    return (total / (weights.shape[1] * counted.sum((1, 2)).clamp(min=1))).float()


def on_grid(maps: Tensor, rows: int, columns: int, interpolation: Interpolation) -> Tensor:
    """Maps (B, views, r, c) on another grid, (B, views, rows, columns).

    A bilinear map of twice the side shrinks a lone peak to 9/16, so that it may lose its rank.
    """
    corners = False if interpolation == "bilinear" else None
    return nn.functional.interpolate(
        maps, (rows, columns), mode=interpolation, align_corners=corners
    )


def kept_tokens(maps: Tensor, ratio: float, scope: Scope) -> Tensor:
    """Indices of the most relevant tokens, ascending, so that their order stays view, row, column.

    Args:
        maps: (B, views, rows, columns).
        ratio: Fraction that is kept, at least one token.
        scope: `view` keeps as many of each view, `joint` the best of all views together.

    Returns:
        int64 (B, kept), indices into the flattened maps; of equals the first.
    """
    scores = maps.flatten(2) if scope == "view" else maps.flatten(1)[:, None]
    count = max(1, round(ratio * scores.shape[-1]))
    best = scores.argsort(dim=-1, descending=True, stable=True)[..., :count]
    offsets = torch.arange(scores.shape[1], device=maps.device) * scores.shape[-1]
    return (best + offsets[:, None]).flatten(1).sort(dim=-1).values


def hashed(images: Tensor, rows: int, columns: int) -> Tensor:
    """Relevance that means nothing: a hash of a token's place and of the sum of its observation's pixels.

    Unlike draws from a generator, it is the same alone and in a batch, and whatever ran before.

    Args:
        images: uint8 (B, views, 3, h, w).
        rows: Rows of the grid.
        columns: Columns of the grid.

    Returns:
        Float32 (B, views, rows, columns) in [0, 1).
    """
    batch, views = images.shape[:2]
    seed = images.flatten(1).sum(dim=1, dtype=torch.int64)[:, None]
    value = torch.arange(views * rows * columns, device=images.device) + 1_000_003 * (seed % 65_521)
    for factor in (2_246_822_519, 3_266_489_917):
        value = (value ^ (value >> 15)) % 2**31 * factor % 2**31
    return (value.float() / 2**31).view(batch, views, rows, columns)
