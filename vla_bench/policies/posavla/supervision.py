"""What anchors are, and how maps and embeddings are trained on them (PosA-VLA, sections 3.2 and 3.3)."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from vla_bench.policies.posavla.settings import FocalTarget

OFF_PEAK = 4
"""Exponent of CornerNet's discount for cells near a peak."""


def centres(cells: int, like: Tensor) -> Tensor:
    """Centres of equal cells, fractions of the image, (cells,)."""
    return (torch.arange(cells, device=like.device, dtype=like.dtype) + 0.5) / cells


def gaussians(places: Tensor, sigma: float, rows: int, columns: int) -> Tensor:
    """Anchors exp(-((i - v)^2 + (j - u)^2) / (2 sigma^2)) over cells, i the row and j the column.

    The highest cell is 1: on a coarse grid the peak of a narrow anchor falls between cells.

    Args:
        places: (..., 2), u and v as fractions of the image's width and height; NaN if unknown.
        sigma: A fraction of the image.
        rows: Cells from top to bottom.
        columns: Cells from left to right.

    Returns:
        (..., rows, columns); zeros if unknown.
    """
    u, v = places[..., 0, None, None], places[..., 1, None, None]
    square = (centres(rows, places)[:, None] - v) ** 2 + (centres(columns, places) - u) ** 2
    nearest = square.flatten(-2).min(-1).values[..., None, None]
    return torch.exp(-(square - nearest) / (2 * sigma**2)).nan_to_num(0.0)


def hits(maps: Tensor, places: Tensor, sigma: float) -> Tensor:
    """Whether each map is highest where its place's anchor is at least as high as a sigma off its peak.

    The peak of an anchor is that of `gaussians`: the cell that is nearest to the place always hits.

    Args:
        maps: (..., rows, columns).
        places: (..., 2), as in `gaussians`.
        sigma: A fraction of the image.

    Returns:
        Bool (...); False if the place is unknown.
    """
    anchors = gaussians(places, sigma, *maps.shape[-2:]).flatten(-2)
    highest = maps.flatten(-2).argmax(-1, keepdim=True)
    return anchors.gather(-1, highest)[..., 0] >= math.exp(-0.5)


def focal(
    logits: Tensor,
    anchors: Tensor,
    target: FocalTarget = "binary",
    threshold: float = 0.7,
    gamma: float = 2.0,
    balance: float | None = None,
) -> Tensor:
    """Focal losses of cells; binary cross-entropy for `gamma` 0 (Lin et al. 2017, eqs 4 and 5).

    Args:
        logits: Of the maps.
        anchors: In [0, 1], shaped as the maps.
        target: Whether anchors are cut at the threshold, or only peaks are positive and other cells
            count by (1 - anchor)^4 (CornerNet, Law and Deng 2018, eq. 1).
        threshold: Height from which a cell is positive, for anchors that are cut.
        gamma: Exponent that plays down cells which are right already.
        balance: Weight of positive cells, others have 1 - balance; none for 1 and 1.

    Returns:
        Not reduced, shaped as the maps.
    """
    positive = anchors >= (threshold if target == "binary" else 1.0)
    entropy = functional.binary_cross_entropy_with_logits(
        logits, positive.to(logits.dtype), reduction="none"
    )
    # One minus the probability of what is right, from the logit: exact also where it is tiny.
    loss = entropy * torch.sigmoid(torch.where(positive, -logits, logits)) ** gamma
    if target == "soft_cornernet":
        loss = loss * torch.where(positive, 1.0, (1 - anchors) ** OFF_PEAK)
    if balance is not None:
        loss = loss * torch.where(positive, balance, 1 - balance)
    return loss


def contrastive(images: Tensor, texts: Tensor, same: Tensor, temperature: float) -> Tensor:
    """InfoNCE with several positives, mean of both directions (Khosla et al. 2020, eq. 2).

    Its value is log n where all embeddings are equal.

    Args:
        images: (n, d).
        texts: (n, d).
        same: Bool (n, n), which pairs have the same instruction.
        temperature: Divides the cosines.
    """
    cosines = functional.normalize(images, dim=-1) @ functional.normalize(texts, dim=-1).T
    logits, positives = cosines / temperature, same.to(cosines.dtype)
    losses = [
        -(positives * torch.log_softmax(rows, dim=1)).sum(1) / positives.sum(1)
        for rows in (logits, logits.T)
    ]
    return torch.stack(losses).mean()


def pooled(features: Tensor, positive: Tensor) -> Tensor:
    """Means (B, d) of features (B, cells, d) over positive cells, bool (B, cells); NaN where none is."""
    weights = positive.to(features.dtype)
    return (weights[:, None] @ features)[:, 0] / weights.sum(1, keepdim=True)
