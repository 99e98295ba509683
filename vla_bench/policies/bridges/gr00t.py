"""GR00T's protocol: request and reply over ZeroMQ, with axes for batch and time on everything."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import zmq
from numpy.typing import NDArray

from vla_bench.cards import PolicyCard
from vla_bench.clock import Clock
from vla_bench.items import WorkItem
from vla_bench.policies.bridges.channel import PATIENCE_S
from vla_bench.policies.bridges.codecs import Gr00tCodec
from vla_bench.policies.bridges.errors import BridgeError
from vla_bench.policies.bridges.link import Link, chunk_of, mapping_of
from vla_bench.policies.bridges.mapping import Message
from vla_bench.policies.bridges.policy import BridgePolicy


class Gr00tLink(Link):
    """A socket that has waited in vain cannot be used again, and is not."""

    schemes: ClassVar[tuple[str, ...]] = ("tcp",)

    def __init__(self, card: PolicyCard) -> None:
        super().__init__(card)
        self.codec = Gr00tCodec()
        self._socket: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.REQ)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.connect(self.address.url)
        try:
            self._ask("ping")
            self._answer()
        except BridgeError:
            self.close()
            raise

    def begin(self, item: WorkItem) -> None:
        """Lets the server forget the episode before."""
        self._ask("reset", {"options": None})
        self._answer()

    def send(self, message: Message, extras: Mapping[str, Any]) -> None:
        """See `Link.send`."""
        nested = message.nested()
        observation = {name: _batched(part) for name, part in nested.items()}
        self._ask("get_action", {"observation": observation, **extras})

    def receive(self) -> NDArray[Any]:
        """See `Link.receive`: the parts that the card names, side by side."""
        reply = self._answer()
        if isinstance(reply, list) and reply:
            reply = reply[0]
        parts = mapping_of(reply)
        missing = [name for name in self.wire.actions if name not in parts]
        if missing:
            raise BridgeError(
                f"the server's action has no {', '.join(missing)}; found: {', '.join(map(str, parts))}"
            )
        arrays = [np.asarray(parts[name], np.float32) for name in self.wire.actions]
        try:
            columns = [a if a.ndim == 3 else a[..., None] for a in arrays]
            return chunk_of(np.concatenate(columns, axis=-1), batched=True)
        except ValueError:
            shapes = ", ".join(str(a.shape) for a in arrays)
            raise BridgeError(f"the parts of the server's action do not fit: {shapes}") from None

    def close(self) -> None:
        """See `Link.close`."""
        self._socket.close()

    def _ask(self, endpoint: str, data: Mapping[str, Any] | None = None) -> None:
        request: dict[str, Any] = {"endpoint": endpoint}
        if data is not None:
            request["data"] = data
        if self.address.api_key:
            request["api_token"] = self.address.api_key
        self._socket.send(self.codec.pack(request))

    def _answer(self) -> object:
        until = time.monotonic() + self.address.timeout_s
        while not self._socket.poll(int(PATIENCE_S * 1000)):
            Clock.beat()
            if time.monotonic() > until:
                raise BridgeError(
                    f"no answer from the policy server at {self.address.url} for "
                    f"{self.address.timeout_s:g} s; start it, or --set url=tcp://HOST:PORT"
                )
        reply = self.codec.unpack(self._socket.recv())
        if isinstance(reply, Mapping) and "error" in reply:
            raise BridgeError(f"the policy server failed: {reply['error']}")
        return reply


def _batched(part: object) -> object:
    """Arrays (…) as (batch 1, time 1, …), text as a list of lists."""
    if isinstance(part, Mapping):
        return {name: _batched(inner) for name, inner in part.items()}
    return part[None, None] if isinstance(part, np.ndarray) else [[part]]


class Gr00tPolicy(BridgePolicy):
    """A policy behind GR00T's protocol."""

    link = Gr00tLink
