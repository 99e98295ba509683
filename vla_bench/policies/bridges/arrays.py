"""Arrays out of untrusted bytes: what is declared has to fit what is there, and nothing is unpickled."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vla_bench.policies.bridges.errors import CodecError

NUMBERS = re.compile(r"[<>|=]?(b1|[iu][1248]|f[248])")
"""dtypes of every dialect: booleans, integers, floats."""
NUMBERS_AND_TEXT = re.compile(r"[<>|=]?(b1|[iu][1248]|f[248]|[SU][1-9]\d{0,7})")
"""openpi's and json-numpy's have byte and text strings of fixed length as well."""
MOST_DIMENSIONS = 32
PNG_MODES = {1: "L", 3: "RGB", 4: "RGBA"}
"""Pillow's names of 8-bit pixels by their number of channels."""


def checked_dtype(name: object, allowed: re.Pattern[str]) -> np.dtype[Any]:
    """A dtype by its name in NumPy's notation.

    Raises:
        CodecError: It is none that a message may hold: objects, structures, complex numbers, dates.
    """
    if not (isinstance(name, str) and allowed.fullmatch(name)):
        raise CodecError(f"dtype {name!r}: only plain numbers and booleans travel")
    return np.dtype(name)


def check_array(array: NDArray[Any] | np.generic, allowed: re.Pattern[str]) -> None:
    """Refuses an array that no receiver would take.

    Raises:
        CodecError: Its dtype is none that a message may hold.
    """
    checked_dtype(array.dtype.str, allowed)


def checked_shape(shape: object) -> tuple[int, ...]:
    """A declared shape.

    Raises:
        CodecError: It is no list of at most 32 non-negative integers.
    """
    if not isinstance(shape, Sequence) or isinstance(shape, str | bytes):
        raise CodecError(f"shape {_short(shape)} is no list of sizes")
    if len(shape) > MOST_DIMENSIONS or not all(type(n) is int and n >= 0 for n in shape):
        raise CodecError(f"shape {_short(shape)} is no list of at most {MOST_DIMENSIONS} sizes")
    return tuple(shape)


def build_array(
    data: object, dtype: np.dtype[Any], shape: tuple[int, ...], *, fortran: bool = False
) -> NDArray[Any]:
    """An array of its own memory out of bytes.

    Args:
        data: The entries, as many bytes as dtype and shape ask for.
        dtype: Checked dtype.
        shape: Checked shape.
        fortran: Whether the first index runs fastest.

    Raises:
        CodecError: The bytes are not as many, or no array has that shape.
    """
    if not isinstance(data, bytes):
        raise CodecError(f"an array's data is {type(data).__name__}, expected bytes")
    wanted = math.prod(shape) * dtype.itemsize
    if wanted != len(data):
        raise CodecError(
            f"an array of {dtype.str} {_short(shape)} takes {wanted} bytes, found {len(data)}"
        )
    try:
        return np.ndarray(shape, dtype, data, order="F" if fortran else "C").copy(order="K")
    except (ValueError, OverflowError) as error:
        raise CodecError(f"no array has shape {_short(shape)}: {error}") from None


def png_of(image: NDArray[np.uint8]) -> bytes:
    """An image, uint8 (H, W, 1, 3 or 4), as a PNG file."""
    buffer = io.BytesIO()
    Image.fromarray(image[..., 0] if image.shape[2] == 1 else image).save(buffer, "PNG")
    return buffer.getvalue()


def image_of(data: object, shape: tuple[int, ...]) -> NDArray[Any]:
    """The image, uint8 (H, W, C), in a PNG file.

    Raises:
        CodecError: It is no such file, or its image has another shape than declared.
    """
    if not isinstance(data, bytes):
        raise CodecError(f"an image's data is {type(data).__name__}, expected bytes")
    try:
        with Image.open(io.BytesIO(data), formats=["PNG"]) as file:
            found = (file.height, file.width)
            if len(shape) != 3 or shape[:2] != found or PNG_MODES.get(shape[2]) != file.mode:
                raise CodecError(f"a PNG of {found} {file.mode} was declared as {_short(shape)}")
            return np.array(file).reshape(shape)
    except CodecError:
        raise
    except Exception as error:
        raise CodecError(f"a PNG cannot be read: {error}") from None


def npy_of(array: NDArray[Any]) -> bytes:
    """An array as a .npy file."""
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()


def array_of_npy(data: object) -> NDArray[Any]:
    """The array in a .npy file.

    Raises:
        CodecError: It is no such file, or holds other things than numbers.
    """
    if not isinstance(data, bytes):
        raise CodecError(f"a .npy file is {type(data).__name__}, expected bytes")
    file = io.BytesIO(data)
    try:
        major, _ = np.lib.format.read_magic(file)
        read = {1: np.lib.format.read_array_header_1_0, 2: np.lib.format.read_array_header_2_0}
        shape, fortran, dtype = read[major](file)
    except Exception as error:
        raise CodecError(f"a .npy file cannot be read: {error}") from None
    checked = checked_dtype(dtype.str, NUMBERS)
    return build_array(file.read(), checked, checked_shape(shape), fortran=fortran)


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
