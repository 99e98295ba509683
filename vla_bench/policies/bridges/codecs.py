"""Messages to bytes and back, in the dialects that policy servers speak.

A dialect is known by the keys with which it marks an array. A map that bears another dialect's mark, or
the own one without what belongs to it, is refused: it would otherwise be taken for an innocent map.
"""

from __future__ import annotations

import base64
import binascii
import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, Literal

import msgpack
import numpy as np

from vla_bench.policies.bridges.arrays import (
    NUMBERS,
    NUMBERS_AND_TEXT,
    array_of_npy,
    build_array,
    check_array,
    checked_dtype,
    checked_shape,
    image_of,
    npy_of,
    png_of,
)
from vla_bench.policies.bridges.errors import CodecError, WrongDialectError

MARKS: dict[str | bytes, str] = {
    b"__ndarray__": "openpi",
    b"__npgeneric__": "openpi",
    "__ndarray__": "vla-eval",
    "__image__": "vla-eval",
    "__numpy__": "json-numpy",
    "__ndarray_class__": "gr00t",
}
"""Key that marks an array -> dialect."""
SCALARS = {"b": bool, "i": int, "u": int, "f": float, "S": bytes, "U": str}
"""Kind of dtype -> what an openpi scalar of it is sent as."""


class Codec(ABC):
    """One dialect.

    Attributes:
        name: What it is called.
    """

    name: str

    @abstractmethod
    def pack(self, message: object) -> bytes:
        """A message as bytes.

        Args:
            message: Maps, lists, text, bytes (not in JSON), numbers, None, NumPy arrays and scalars. A
                tuple arrives as a list.

        Raises:
            CodecError: Something in it has no form in this dialect.
        """

    @abstractmethod
    def unpack(self, data: bytes) -> Any:  # noqa: ANN401  whatever was sent
        """The message in some bytes; its arrays own their memory.

        Raises:
            CodecError: The bytes are no message of this dialect.
        """

    @abstractmethod
    def encode(self, value: object) -> object:
        """An array or NumPy scalar in terms of what the format itself knows."""

    @abstractmethod
    def decode(self, table: Mapping[Any, Any], mark: str | bytes) -> object:
        """The array or scalar that a marked map stands for."""

    def found(self, table: Mapping[Any, Any]) -> object:
        """What a map of a message stands for: an array if it is marked as one, else itself."""
        for mark, dialect in MARKS.items():
            if mark in table:
                if dialect != self.name:
                    raise WrongDialectError(
                        f"a message in the dialect of {dialect}, expected {self.name}"
                    )
                return self.decode(table, mark)
        return table


class _Msgpack(Codec):
    def pack(self, message: object) -> bytes:
        try:
            packed: bytes = msgpack.packb(message, default=self.encode)
        except CodecError:
            raise
        except Exception as error:
            raise CodecError(f"cannot be packed: {type(error).__name__}: {error}") from None
        return packed

    def unpack(self, data: bytes) -> Any:  # noqa: ANN401
        try:
            return msgpack.unpackb(data, object_hook=self.found, ext_hook=_no_extension)
        except CodecError:
            raise
        except Exception as error:
            said = str(error) or type(error).__name__
            raise CodecError(f"{len(data)} bytes are no msgpack message: {said}") from None


class OpenpiCodec(_Msgpack):
    """msgpack; an array is a map with byte-string keys. openpi and starVLA."""

    name = "openpi"

    def encode(self, value: object) -> object:
        """See `Codec.encode`."""
        if isinstance(value, np.ndarray):
            check_array(value, NUMBERS_AND_TEXT)
            entries = {b"data": value.tobytes(), b"shape": value.shape}
            return {b"__ndarray__": True, b"dtype": value.dtype.str, **entries}
        if isinstance(value, np.generic):
            check_array(value, NUMBERS_AND_TEXT)
            return {b"__npgeneric__": True, b"data": value.item(), b"dtype": value.dtype.str}
        raise _unknown(value)

    def decode(self, table: Mapping[Any, Any], mark: str | bytes) -> object:
        """See `Codec.decode`."""
        if mark == b"__ndarray__":
            data, dtype, shape = _parts(table, mark, b"data", b"dtype", b"shape")
            checked = checked_dtype(dtype, NUMBERS_AND_TEXT)
            return build_array(data, checked, checked_shape(shape))
        data, dtype = _parts(table, mark, b"data", b"dtype")
        checked = checked_dtype(dtype, NUMBERS_AND_TEXT)
        if not isinstance(data, SCALARS[checked.kind]):
            raise CodecError(f"a scalar of {dtype} is sent as {type(data).__name__}")
        try:
            return checked.type(data)
        except (ValueError, OverflowError, TypeError) as error:
            raise CodecError(f"no {dtype} scalar: {error}") from None


class VlaEvalCodec(_Msgpack):
    """msgpack; an array is a map with text keys, images may be PNG files. vla-eval.

    Args:
        images: How images, uint8 (H, W, 1, 3 or 4), are written; both ways are read. JPEG, which vla-eval
            has as well, changes pixels and is refused.
    """

    name = "vla-eval"

    def __init__(self, images: Literal["raw", "png"] = "raw") -> None:
        self.images = images

    def encode(self, value: object) -> object:
        """See `Codec.encode`."""
        if isinstance(value, np.ndarray):
            check_array(value, NUMBERS)
            if self.images == "png" and _is_image(value):
                shape = list(value.shape)
                return {"__image__": True, "format": "png", "data": png_of(value), "shape": shape}
            entries = {"data": value.tobytes(), "shape": list(value.shape)}
            return {"__ndarray__": True, "dtype": value.dtype.str, **entries}
        if isinstance(value, np.generic):
            check_array(value, NUMBERS)
            return value.item()
        raise _unknown(value)

    def decode(self, table: Mapping[Any, Any], mark: str | bytes) -> object:
        """See `Codec.decode`."""
        if mark == "__image__" and table.get("format") != "raw":
            form, data, shape = _parts(table, mark, "format", "data", "shape")
            if form != "png":
                raise CodecError(f"an image is sent as {form!r}, expected raw or png")
            return image_of(data, checked_shape(shape))
        extra = ("format",) if mark == "__image__" else ()
        data, dtype, shape, *_ = _parts(table, mark, "data", "dtype", "shape", *extra)
        return build_array(data, checked_dtype(dtype, NUMBERS), checked_shape(shape))


class Gr00tCodec(_Msgpack):
    """msgpack; an array is a .npy file in a map. GR00T."""

    name = "gr00t"

    def encode(self, value: object) -> object:
        """See `Codec.encode`."""
        if isinstance(value, np.ndarray | np.generic):
            check_array(value, NUMBERS)
            return {"__ndarray_class__": True, "as_npy": npy_of(np.asarray(value))}
        raise _unknown(value)

    def decode(self, table: Mapping[Any, Any], mark: str | bytes) -> object:
        """See `Codec.decode`."""
        [file] = _parts(table, mark, "as_npy")
        return array_of_npy(file)


class JsonNumpyCodec(Codec):
    """JSON; an array is a map with its bytes in base 64. `json-numpy`, for HTTP `/act`.

    An array without dimensions arrives as a scalar, as it does there.
    """

    name = "json-numpy"

    def pack(self, message: object) -> bytes:
        """See `Codec.pack`."""
        try:
            return json.dumps(message, default=self.encode).encode()
        except CodecError:
            raise
        except Exception as error:
            raise CodecError(f"cannot be written: {type(error).__name__}: {error}") from None

    def unpack(self, data: bytes) -> Any:  # noqa: ANN401
        """See `Codec.unpack`."""
        try:
            return json.loads(data, object_hook=self.found)
        except CodecError:
            raise
        except (ValueError, RecursionError) as error:
            raise CodecError(f"{len(data)} bytes are no JSON message: {error}") from None

    def encode(self, value: object) -> object:
        """See `Codec.encode`."""
        if isinstance(value, np.ndarray | np.generic):
            check_array(value, NUMBERS_AND_TEXT)
            data = base64.b64encode(value.tobytes()).decode()
            return {"__numpy__": data, "dtype": value.dtype.str, "shape": value.shape}
        raise _unknown(value)

    def decode(self, table: Mapping[Any, Any], mark: str | bytes) -> object:
        """See `Codec.decode`."""
        dtype, shape = _parts(table, mark, "dtype", "shape")
        try:
            data = base64.b64decode(table[mark], validate=True)
        except (TypeError, ValueError, binascii.Error) as error:
            raise CodecError(f"an array's data is not in base 64: {error}") from None
        array = build_array(data, checked_dtype(dtype, NUMBERS_AND_TEXT), checked_shape(shape))
        return array[()] if array.ndim == 0 else array


def _is_image(array: np.ndarray[Any, Any]) -> bool:
    shaped = array.ndim == 3 and array.shape[2] in (1, 3, 4)
    return shaped and array.dtype == np.uint8 and array.size > 0


def _parts(table: Mapping[Any, Any], mark: str | bytes, *keys: str | bytes) -> list[Any]:
    """The entries of a marked map, which has no others."""
    if set(table) != {mark, *keys}:
        raise CodecError(f"a map marked {mark!r} has keys {sorted(map(str, table))[:8]}")
    return [table[key] for key in keys]


def _unknown(value: object) -> CodecError:
    return CodecError(f"a {type(value).__name__} cannot travel: only maps, lists, text and numbers")


def _no_extension(code: int, data: bytes) -> object:
    raise CodecError(f"msgpack extension {code} is not part of any dialect")
