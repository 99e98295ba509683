"""Brings images to the size that a protocol asks for, the way its authors do."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Picture = NDArray[np.uint8]
"""uint8 (height, width, 3), RGB."""
Size = tuple[int, int]
"""Height and width in pixels."""


def _as_drawn(picture: Picture, size: Size) -> Picture:
    return picture


def _pad(picture: Picture, size: Size) -> Picture:
    """As openpi's client: bilinear, the aspect kept, the rest black."""
    image, (height, width) = Image.fromarray(picture), size
    scale = max(image.width / width, image.height / height)
    inner = (int(image.width / scale), int(image.height / scale))
    whole = Image.new("RGB", (width, height))
    corner = ((width - inner[0]) // 2, (height - inner[1]) // 2)
    whole.paste(image.resize(inner, Image.Resampling.BILINEAR), corner)
    return np.asarray(whole)


def _jpeg_lanczos(picture: Picture, size: Size) -> Picture:
    """As OpenVLA-OFT, whose training data were JPEG files: encoded, decoded, then Lanczos-3.

    TensorFlow does both there; Pillow stands in for it, and need not agree to the last grey level.
    """
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", quality=95)
    image = Image.open(buffer).resize((size[1], size[0]), Image.Resampling.LANCZOS)
    return np.asarray(image)


RESIZERS: dict[str, Callable[[Picture, Size], Picture]] = {
    "none": _as_drawn,
    "pad": _pad,
    "jpeg-lanczos": _jpeg_lanczos,
}
"""By the value of the option `resize`."""
