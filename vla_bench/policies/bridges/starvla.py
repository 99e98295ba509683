"""starVLA's protocol: openpi's frames, with a request of examples and a reply with a status in them."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import count
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vla_bench.cards import PolicyCard
from vla_bench.policies.bridges.errors import BridgeError
from vla_bench.policies.bridges.link import chunk_of, mapping_of
from vla_bench.policies.bridges.mapping import Message
from vla_bench.policies.bridges.openpi import OpenpiLink
from vla_bench.policies.bridges.policy import BridgePolicy


class StarvlaLink(OpenpiLink):
    """A request holds one example: views in order, instruction, and state if the card has any.

    The option `unnorm_key` names the statistics with which the server scales actions back.
    """

    def __init__(self, card: PolicyCard) -> None:
        super().__init__(card)
        self._numbers = count(1)
        self._number = 0
        keys = self.told.get("available_unnorm_keys")
        wanted = str(card.options["unnorm_key"])
        if wanted and isinstance(keys, list) and wanted not in keys:
            self.close()
            raise BridgeError(
                f"--set unnorm_key={wanted}: the server has {', '.join(map(str, keys))}"
            )

    def send(self, message: Message, extras: Mapping[str, Any]) -> None:
        """See `Link.send`."""
        self._number = next(self._numbers)
        example: dict[str, Any] = {"image": list(message.images.values()), "lang": message.text}
        if message.state:
            example["state"] = np.concatenate(list(message.state.values()))
        payload: dict[str, Any] = {"examples": [example], **extras}
        if self.card.options["unnorm_key"]:
            payload["unnorm_key"] = self.card.options["unnorm_key"]
        request = {"type": "infer", "request_id": str(self._number), "payload": payload}
        self.channel.send(self.codec.pack(request))

    def receive(self) -> NDArray[Any]:
        """See `Link.receive`."""
        reply = mapping_of(self._received())
        if not reply.get("ok"):
            error = reply.get("error")
            said = error.get("message") if isinstance(error, Mapping) else error
            raise BridgeError(f"the policy server failed: {said or 'it did not say why'}")
        if str(reply.get("request_id")) != str(self._number):
            raise BridgeError(
                f"the server answered request {reply.get('request_id')}, not {self._number}"
            )
        data = mapping_of(reply.get("data"))
        if "actions" not in data:
            raise BridgeError(
                f"the server's reply has no actions; found: {', '.join(map(str, data))}"
            )
        return chunk_of(data["actions"], batched=True)


class StarvlaPolicy(BridgePolicy):
    """A policy behind starVLA's protocol."""

    link = StarvlaLink
