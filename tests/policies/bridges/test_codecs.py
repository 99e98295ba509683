"""Codecs: what goes in comes out, or is refused in one line; hostile bytes are refused, never obeyed."""

import io
import json
import pickle
from contextlib import suppress

import msgpack
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from vla_bench.policies.bridges.codecs import (
    MARKS,
    Gr00tCodec,
    JsonNumpyCodec,
    OpenpiCodec,
    VlaEvalCodec,
)
from vla_bench.policies.bridges.errors import CodecError, WrongDialectError

CODECS = [OpenpiCodec(), VlaEvalCodec("raw"), VlaEvalCodec("png"), Gr00tCodec(), JsonNumpyCodec()]
NAMES = ["openpi", "vla-eval", "vla-eval-png", "gr00t", "json-numpy"]
WITH_TEXT = [CODECS[0], CODECS[4]]
codecs = pytest.mark.parametrize("codec", CODECS, ids=NAMES)
quick = settings(max_examples=25, deadline=None)
NUMBERS = (
    hnp.boolean_dtypes()
    | hnp.integer_dtypes(endianness="?")
    | hnp.floating_dtypes(endianness="?", sizes=(16, 32, 64))
)
SHAPES = hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
SCALARS = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | TEXT
KEYS = TEXT.filter(lambda key: key not in MARKS)
MESSAGES = st.recursive(
    SCALARS | st.floats(allow_nan=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=8,
)


def equal(one, other):
    return (
        one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes()
    )


@codecs
@quick
@given(array=hnp.arrays(NUMBERS, SHAPES))
def test_arrays_travel(codec, array):
    back = codec.unpack(codec.pack({"a": array}))["a"]
    if codec.name == "json-numpy" and array.ndim == 0:
        assert back.tobytes() == array.astype(back.dtype).tobytes()
    else:
        assert equal(back, array)
        assert back.flags.writeable


@codecs
@quick
@given(array=hnp.arrays(np.uint8, hnp.array_shapes(min_dims=3, max_dims=3, max_side=8)))
def test_strides_do_not_matter(codec, array):
    for view in (array[::-1, ::-1], array[::2], array.transpose(2, 0, 1), np.asfortranarray(array)):
        assert equal(codec.unpack(codec.pack([view]))[0], np.ascontiguousarray(view))


@pytest.mark.parametrize("codec", WITH_TEXT, ids=["openpi", "json-numpy"])
@quick
@given(
    array=hnp.arrays(hnp.unicode_string_dtypes(max_len=5) | hnp.byte_string_dtypes(max_len=5), (3,))
)
def test_arrays_of_text_travel(codec, array):
    assert equal(codec.unpack(codec.pack(array)), array)


@codecs
@quick
@given(message=MESSAGES)
def test_plain_messages_travel(codec, message):
    assert codec.unpack(codec.pack(message)) == message


@codecs
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_images_travel(codec, channels):
    image = np.random.default_rng(0).integers(0, 256, (7, 9, channels), np.uint8)
    assert equal(codec.unpack(codec.pack({"i": image}))["i"], image)


@codecs
def test_scalars_travel(codec):
    for scalar in (
        np.float32(0.1),
        np.int8(-3),
        np.uint64(2**64 - 1),
        np.bool_(True),
        np.float64(np.pi),
    ):
        assert codec.unpack(codec.pack([scalar])) == [scalar]


@codecs
def test_huge_arrays_travel(codec):
    array = np.zeros((16, 1024, 1024), np.uint8)
    array[-1, -1, -1] = 7
    assert equal(codec.unpack(codec.pack(array)), array)


@codecs
@pytest.mark.parametrize(
    "value",
    [
        np.array([object()]),
        np.array([1 + 2j]),
        np.zeros(2, [("a", "<f4")]),
        np.array(["2020-01-01"], "M8[D]"),
        np.zeros(2, np.longdouble),
        {1, 2},
        object(),
        np.complex64(1),
    ],
    ids=[
        "object",
        "complex",
        "structure",
        "date",
        "longdouble",
        "set",
        "instance",
        "complex scalar",
    ],
)
def test_what_cannot_travel_is_refused(codec, value):
    with pytest.raises(CodecError):
        codec.pack({"value": value})


def marked(dialect, dtype="<f4", shape=(2,), data=bytes(8)):
    """An array as it stands in a message, whatever it holds."""
    if dialect == "openpi":
        table = {b"__ndarray__": True, b"data": data, b"dtype": dtype, b"shape": shape}
        return msgpack.packb({"a": table})
    if dialect == "vla-eval":
        table = {"__ndarray__": True, "data": data, "dtype": dtype, "shape": shape}
        return msgpack.packb({"a": table})
    import base64

    text = base64.b64encode(data).decode()
    return json.dumps({"a": {"__numpy__": text, "dtype": dtype, "shape": shape}}).encode()


HOSTILE = {
    "too few bytes": {"data": bytes(7)},
    "too many bytes": {"data": bytes(9)},
    "negative": {"shape": (-1, -2)},
    "minus one": {"shape": (-1,)},
    "overflow": {"shape": (2**62, 4), "data": b""},
    "empty but endless": {"shape": (0, 2**63 - 1, 2**63 - 1), "data": b""},
    "no integer": {"shape": (2.0,)},
    "a boolean": {"shape": (True, 2)},
    "no list": {"shape": 2},
    "many dimensions": {"shape": (1,) * 60 + (2,)},
    "object": {"dtype": "|O", "data": bytes(16)},
    "pickle": {"dtype": "|O", "data": pickle.dumps([1, 2])},
    "complex": {"dtype": "<c8", "shape": (1,)},
    "structure": {"dtype": "f4,f4", "shape": (1,)},
    "void": {"dtype": "|V4"},
    "date": {"dtype": "<M8[s]", "shape": (1,)},
    "no dtype": {"dtype": "nonsense"},
    "dtype of another kind": {"dtype": 7},
    "text of no length": {"dtype": "<U0", "shape": (10**15,), "data": b""},
}


@pytest.mark.parametrize("dialect", ["openpi", "vla-eval", "json-numpy"])
@pytest.mark.parametrize("attack", HOSTILE.values(), ids=HOSTILE)
def test_hostile_arrays_are_refused(dialect, attack):
    codec = {"openpi": CODECS[0], "vla-eval": CODECS[1], "json-numpy": CODECS[4]}[dialect]
    assert codec.unpack(marked(dialect))["a"].shape == (2,)
    with pytest.raises(CodecError):
        codec.unpack(marked(dialect, **attack))


def npy(array, pickled=False):
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=pickled)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "file",
    [
        npy(np.array([{"a": 1}]), pickled=True),
        npy(np.zeros(4))[:-3],
        npy(np.zeros(4)) + b"more",
        npy(np.zeros(2, [("a", "<f4")])),
        b"\x93NUMPY",
        b"",
        pickle.dumps(np.zeros(3)),
        7,
    ],
    ids=["object", "cut", "more", "structure", "no header", "nothing", "pickle", "number"],
)
def test_hostile_npy_files_are_refused(file):
    with pytest.raises(CodecError):
        Gr00tCodec().unpack(msgpack.packb({"__ndarray_class__": True, "as_npy": file}))


@pytest.mark.parametrize(
    "change",
    [
        {"format": "jpeg"},
        {"shape": [7, 9, 4]},
        {"shape": [9, 7, 3]},
        {"shape": [2**31, 2**31, 3]},
        {"data": b"\x89PNG no more"},
        {"data": npy(np.zeros(3))},
        {"more": 1},
    ],
    ids=str,
)
def test_hostile_images_are_refused(change):
    codec = VlaEvalCodec("png")
    table = codec.encode(np.zeros((7, 9, 3), np.uint8))
    assert codec.unpack(msgpack.packb(table)).shape == (7, 9, 3)
    with pytest.raises(CodecError):
        codec.unpack(msgpack.packb({**table, **change}))


@codecs
def test_truncated_frames_are_refused(codec):
    frame = codec.pack({"a": np.arange(5.0), "prompt": "pick up", "n": [1, 2, {"b": None}]})
    for length in range(len(frame)):
        with pytest.raises(CodecError):
            codec.unpack(frame[:length])
    with pytest.raises(CodecError):
        codec.unpack(frame + b"\x01}")


@codecs
@quick
@given(data=st.binary(max_size=60))
def test_noise_is_refused_or_harmless(codec, data):
    with suppress(CodecError):
        codec.unpack(data)


@pytest.mark.parametrize("spoken", CODECS, ids=NAMES)
@pytest.mark.parametrize(
    "heard", [CODECS[0], CODECS[1], CODECS[3]], ids=["openpi", "vla-eval", "gr00t"]
)
def test_another_dialect_is_noticed(spoken, heard):
    message = {"images": {"head": np.zeros((4, 4, 3), np.uint8)}, "deep": [{"state": np.ones(3)}]}
    frame = spoken.pack(message)
    if spoken.name == heard.name:
        assert heard.unpack(frame)["deep"][0]["state"].tolist() == [1, 1, 1]
    elif spoken.name == "json-numpy":
        with pytest.raises(CodecError):
            heard.unpack(frame)
    else:
        with pytest.raises(WrongDialectError, match=spoken.name):
            heard.unpack(frame)


def test_a_mark_without_what_belongs_to_it_is_refused():
    for table in ({"__ndarray__": True}, {"__image__": True, "data": b""}, {"__image__": True}):
        with pytest.raises(CodecError):
            VlaEvalCodec().unpack(msgpack.packb({"a": [table]}))
    with pytest.raises(CodecError):
        OpenpiCodec().unpack(
            msgpack.packb({b"__npgeneric__": True, b"data": 10**9, b"dtype": "S5"})
        )
    with pytest.raises(CodecError):
        OpenpiCodec().unpack(msgpack.packb(msgpack.ExtType(4, b"x")))
    with pytest.raises(CodecError):
        OpenpiCodec().unpack(b"\x91" * 5000 + b"\x01")
