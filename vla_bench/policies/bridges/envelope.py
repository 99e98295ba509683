"""The envelope of vla-eval's messages: type, payload, number, time."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from vla_bench.policies.bridges.codecs import VlaEvalCodec
from vla_bench.policies.bridges.errors import CodecError, WrongDialectError

PROTOCOL_VERSION = 1
HELLO, OBSERVATION, ACTION = "hello", "observation", "action"
START, END, ERROR = "episode_start", "episode_end", "error"
KINDS = {HELLO, OBSERVATION, ACTION, START, END, ERROR}
FIELDS = {"type", "payload", "seq", "timestamp"}


@dataclass(frozen=True)
class Envelope:
    """One message."""

    kind: str
    payload: Mapping[str, Any]
    number: int
    """Chosen by the client; an answer bears that of its question."""


def hello() -> dict[str, Any]:
    """What either side says of itself in its first message."""
    return {"harness_version": version("vla-bench"), "protocol_version": PROTOCOL_VERSION}


def seal(codec: VlaEvalCodec, envelope: Envelope) -> bytes:
    """A message as bytes."""
    return codec.pack(
        {
            "type": envelope.kind,
            "payload": envelope.payload,
            "seq": envelope.number,
            "timestamp": time.time(),
        }
    )


def unseal(codec: VlaEvalCodec, data: bytes) -> Envelope:
    """The message in some bytes.

    Raises:
        CodecError: The bytes are no message of this protocol.
    """
    message = codec.unpack(data)
    if not (isinstance(message, Mapping) and set(message) >= FIELDS):
        raise WrongDialectError(
            "a message without vla-eval's envelope (type, payload, seq, timestamp)"
        )
    kind, payload, number = message["type"], message["payload"], message["seq"]
    if kind not in KINDS or not isinstance(payload, Mapping) or type(number) is not int:
        raise CodecError(f"a vla-eval message of type {kind!r} with a broken payload or seq")
    return Envelope(kind, payload, number)
