"""How a server talks to one client, in either protocol."""

from __future__ import annotations

import time
import traceback
from collections.abc import Mapping
from functools import partial
from typing import Any

from websockets.asyncio.server import ServerConnection
from websockets.frames import CloseCode

from vla_bench.errors import PlanLost, PolicyError, UserError
from vla_bench.policies.bridges.codecs import OpenpiCodec, VlaEvalCodec
from vla_bench.policies.bridges.envelope import (
    ACTION,
    END,
    ERROR,
    FIELDS,
    HELLO,
    OBSERVATION,
    START,
    Envelope,
    hello,
    seal,
    unseal,
)
from vla_bench.policies.bridges.errors import BridgeError, WrongDialectError
from vla_bench.policies.bridges.mapping import STEP
from vla_bench.policies.bridges.offer import KEY, Offer
from vla_bench.policies.bridges.serving.seat import Kitchen, Seat
from vla_bench.policies.bridges.serving.wires import observation_parameters
from vla_bench.policies.bridges.specs import action_spec, observation_spec

Expected = (BridgeError, PolicyError, PlanLost, UserError)
"""Failures that are said in one line."""


class OpenpiTalk:
    """Metadata, then a chunk for every observation.

    Args:
        kitchen: Does the policies' work.
        offer: What is told of the policy.
    """

    def __init__(self, kitchen: Kitchen, offer: Offer) -> None:
        self.kitchen = kitchen
        self.metadata = {KEY: offer.model_dump(mode="json")}

    async def __call__(self, socket: ServerConnection, seat: Seat) -> None:
        """Serves one client until it leaves; a failure ends the connection, as openpi's do."""
        codec = OpenpiCodec()
        previous: dict[str, float] = {}
        await socket.send(codec.pack(self.metadata))
        async for frame in socket:
            start = time.perf_counter()
            with self.kitchen.answering():
                try:
                    message = _observation(codec, frame)
                    chunk = await self.kitchen.call(partial(seat.chunk, message))
                except Exception as error:
                    await socket.send(_said(error))
                    await socket.close(CloseCode.INTERNAL_ERROR, "the frame before says why")
                    return
                timing = {"infer_ms": _ms(start), **previous}
                await socket.send(codec.pack({"actions": chunk, "server_timing": timing}))
            previous = {"prev_total_ms": _ms(start)}


class VlaEvalTalk:
    """A handshake, then an action for every observation; whole chunks for clients of ours.

    Args:
        kitchen: Does the policies' work.
        offer: What is told of the policy.
    """

    def __init__(self, kitchen: Kitchen, offer: Offer) -> None:
        self.kitchen = kitchen
        sizes = {**offer.inputs.state, **offer.inputs.privileged}
        self.hello = {
            **hello(),
            "model_server": f"vla-bench {offer.policy}",
            "capabilities": {},
            "observation_params": observation_parameters(offer.wire),
            "observation_spec": observation_spec(offer.wire, sizes),
            "action_spec": action_spec(kitchen.suite.action),
            KEY: offer.model_dump(mode="json"),
        }

    async def __call__(self, socket: ServerConnection, seat: Seat) -> None:
        """Serves one client until it leaves; a failure is answered, and the connection stays."""
        codec = VlaEvalCodec()
        async for frame in socket:
            with self.kitchen.answering():
                answer = await self._reply(codec, frame, seat)
                if answer is not None:
                    await socket.send(seal(codec, answer))

    async def _reply(self, codec: VlaEvalCodec, frame: bytes | str, seat: Seat) -> Envelope | None:
        number = 0
        try:
            if isinstance(frame, str):
                raise WrongDialectError("a text frame; vla-eval's are binary")
            envelope = unseal(codec, frame)
            number = envelope.number
            return await self._answer(envelope, seat)
        except Exception as error:
            return Envelope(ERROR, {"error": _said(error)}, number)

    async def _answer(self, envelope: Envelope, seat: Seat) -> Envelope | None:
        if envelope.kind == HELLO:
            return Envelope(HELLO, self.hello, envelope.number)
        if envelope.kind in (START, END):
            seat.begin()
            return None
        if envelope.kind != OBSERVATION:
            return None
        message, start = envelope.payload, time.perf_counter()
        asked = seat.chunk if STEP in message else seat.action
        actions = await self.kitchen.call(partial(asked, message))
        payload: Mapping[str, Any] = {"actions": actions, "server_timing": {"infer_ms": _ms(start)}}
        return Envelope(ACTION, payload, envelope.number)


def _observation(codec: OpenpiCodec, frame: bytes | str) -> Mapping[Any, Any]:
    """An openpi client's message."""
    if isinstance(frame, str):
        raise WrongDialectError("a text frame; openpi's are binary")
    message = codec.unpack(frame)
    if not isinstance(message, Mapping):
        raise BridgeError(f"the observation is a {type(message).__name__}, expected a map")
    if set(message) >= FIELDS:
        raise WrongDialectError("a vla-eval message; this server speaks openpi")
    return message


def _said(error: Exception) -> str:
    """One line for what can be foreseen, else the traceback."""
    if isinstance(error, Expected):
        return f"{type(error).__name__}: {error}"
    return "".join(traceback.format_exception(error))


def _ms(start: float) -> float:
    return (time.perf_counter() - start) * 1000
