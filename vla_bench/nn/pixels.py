"""Images as full-size vision towers expect them."""

from __future__ import annotations

from torch import Tensor, nn

Channels = tuple[float, float, float]
"""A number for each of red, green and blue."""


def fitted(images: Tensor, side: int) -> Tensor:
    """Images (N, 3, h, w) in [0, 255] as float32 (N, 3, side, side) in [0, 1]."""
    pixels = images.float()
    if images.shape[-2:] != (side, side):
        pixels = nn.functional.interpolate(pixels, (side, side), mode="bicubic", antialias=True)
    return pixels.clamp(0, 255) / 255


def scaled(pixels: Tensor, mean: Channels, std: Channels) -> Tensor:
    """Pixels (N, 3, h, w) in [0, 1], less the mean and over the deviation of each colour."""
    shift, scale = pixels.new_tensor([mean, std])[..., None, None]
    normalised: Tensor = (pixels - shift) / scale
    return normalised
