"""openpi's protocol: metadata first, then one observation and one chunk in turn; no episodes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

from vla_bench.cards import PolicyCard
from vla_bench.policies.bridges.channel import Channel
from vla_bench.policies.bridges.codecs import OpenpiCodec
from vla_bench.policies.bridges.errors import BridgeError
from vla_bench.policies.bridges.link import Link, chunk_of, last_line, mapping_of
from vla_bench.policies.bridges.mapping import Message
from vla_bench.policies.bridges.policy import BridgePolicy


class OpenpiLink(Link):
    """A connection is an episode: there is no other way to tell a server that one begins.

    Raises:
        BridgeError: There is no such server.
    """

    def __init__(self, card: PolicyCard) -> None:
        super().__init__(card)
        self.codec = OpenpiCodec()
        self.channel = Channel(self.address)
        try:
            self.told = mapping_of(self._received())
        except BridgeError as error:
            self.close()
            raise BridgeError(
                f"{error} (an openpi server introduces itself at once; for others there are --policy "
                f"vla-eval, act-http and gr00t)"
            ) from None

    def send(self, message: Message, extras: Mapping[str, Any]) -> None:
        """See `Link.send`."""
        self.channel.send(self.codec.pack({**message.nested(), **extras}))

    def receive(self) -> NDArray[Any]:
        """See `Link.receive`."""
        reply = mapping_of(self._received())
        if "actions" not in reply:
            raise BridgeError(
                f"the server's reply has no actions; found: {', '.join(map(str, reply))}"
            )
        return chunk_of(reply["actions"])

    def close(self) -> None:
        """See `Link.close`."""
        self.channel.close()

    def _received(self) -> object:
        """The next message; a text frame is a traceback."""
        frame = self.channel.receive()
        if isinstance(frame, str):
            raise BridgeError(f"the policy server failed: {last_line(frame)}")
        return self.codec.unpack(frame)


class OpenpiPolicy(BridgePolicy):
    """A policy behind openpi's protocol."""

    link = OpenpiLink
