"""What attention maps say about objects whose pixels are known: arithmetic on maps and masks."""

from __future__ import annotations

import torch
from torch import Tensor


def shares(mask: Tensor, rows: int, columns: int) -> Tensor:
    """Share of each cell of a grid that a mask covers, exact where cells end within pixels.

    Args:
        mask: bool (..., height, width).
        rows: Rows of the grid.
        columns: Columns of the grid.

    Returns:
        float (..., rows, columns), 0 to 1.
    """
    height, width = mask.shape[-2:]
    down, across = _overlaps(rows, height, mask.device), _overlaps(columns, width, mask.device)
    return down @ mask.float() @ across.T


def area(mask: Tensor) -> Tensor:
    """Share of all views' pixels that a mask (B, views, height, width) covers, (B,).

    It is the attention mass of a map that looks everywhere alike.
    """
    return mask.float().mean((1, 2, 3))


def attention_mass(attention: Tensor, mask: Tensor) -> Tensor:
    """Share of an attention map that lies on an object, its weight spread evenly over each cell.

    Args:
        attention: (B, views, rows, columns), not negative; need not sum to 1.
        mask: bool (B, views, height, width), the object's pixels.

    Returns:
        (B,), 0 to 1; NaN where the map is zero everywhere.
    """
    on_object = attention * shares(mask, *attention.shape[-2:])
    return on_object.sum((1, 2, 3)) / attention.sum((1, 2, 3))


def coverage(attention: Tensor, mask: Tensor) -> Tensor:
    """Share of an object's pixels that lie in cells with any attention; arguments as above.

    Returns:
        (B,), 0 to 1; NaN where the mask is empty. 1 wherever no token is masked out.
    """
    pixels = shares(mask, *attention.shape[-2:])
    return (pixels * (attention > 0)).sum((1, 2, 3)) / pixels.sum((1, 2, 3))


def spread(attention: Tensor) -> Tensor:
    """How many of its cells a map looks at, as a share: exp(entropy) over their number.

    Args:
        attention: (B, views, rows, columns), not negative; need not sum to 1.

    Returns:
        (B,), from one cell's share to 1, where all cells weigh the same; NaN where the map is zero.
    """
    cells = attention.flatten(1)
    weights = cells / cells.sum(1, keepdim=True)
    return torch.exp(-torch.xlogy(weights, weights).sum(1)) / cells.shape[1]


def _overlaps(cells: int, pixels: int, device: torch.device) -> Tensor:
    """Share of each cell that each pixel is, along one side: (cells, pixels)."""
    edges = torch.arange(cells + 1, device=device) * (pixels / cells)
    starts = torch.arange(pixels, device=device)
    first = torch.maximum(edges[:-1, None], starts)
    last = torch.minimum(edges[1:, None], starts + 1)
    return (last - first).clamp(min=0) * (cells / pixels)
