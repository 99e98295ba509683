"""Pixels and the cells of a grid over an image."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def covered(mask: NDArray[np.bool_], rows: int, columns: int) -> NDArray[np.float64]:
    """How much of each cell of a grid of equal cells a mask covers.

    Args:
        mask: (H, W); cells may end within a pixel.
        rows: Cells from top to bottom.
        columns: Cells from left to right.

    Returns:
        (rows, columns), in [0, 1].
    """
    down, across = _weights(mask.shape[0], rows), _weights(mask.shape[1], columns)
    shares: NDArray[np.float64] = down @ mask @ across.T
    return shares


def _weights(pixels: int, cells: int) -> NDArray[np.float64]:
    """What share of each cell each pixel makes up, (cells, pixels); rows sum to 1."""
    edges = np.linspace(0, pixels, cells + 1)
    pixel = np.arange(pixels)
    inside = np.minimum(edges[1:, None], pixel + 1) - np.maximum(edges[:-1, None], pixel)
    return np.clip(inside, 0, None) * cells / pixels
