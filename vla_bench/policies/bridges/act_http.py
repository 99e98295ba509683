"""HTTP `/act`: a POST with an observation in JSON, a reply with a chunk (OpenVLA-OFT, VLA-Adapter)."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, ClassVar
from urllib.parse import urlsplit

from numpy.typing import NDArray

from vla_bench.cards import PolicyCard
from vla_bench.policies.bridges.codecs import JsonNumpyCodec
from vla_bench.policies.bridges.errors import BridgeError, CodecError
from vla_bench.policies.bridges.link import Link, chunk_of, last_line
from vla_bench.policies.bridges.mapping import Message
from vla_bench.policies.bridges.policy import BridgePolicy


class ActHttpLink(Link):
    """The server keeps nothing from one request to the next.

    The option `double_encoded` puts the JSON into JSON, for servers whose own parser knows no arrays.
    """

    schemes: ClassVar[tuple[str, ...]] = ("http", "https")

    def __init__(self, card: PolicyCard) -> None:
        super().__init__(card)
        self.codec = JsonNumpyCodec()
        secure = urlsplit(self.address.url).scheme == "https"
        kind = http.client.HTTPSConnection if secure else http.client.HTTPConnection
        self._connection = kind(
            self.address.host, self.address.port, timeout=self.address.timeout_s
        )

    def send(self, message: Message, extras: Mapping[str, Any]) -> None:
        """See `Link.send`."""
        body = self.codec.pack({**message.nested(), **extras})
        if self.card.options["double_encoded"]:
            body = json.dumps({"encoded": body.decode()}).encode()
        headers = {"Content-Type": "application/json", **self.address.headers}
        path = urlsplit(self.address.url).path.rstrip("/") or "/act"
        with self._failures():
            self._connection.request("POST", path, body, headers)

    def receive(self) -> NDArray[Any]:
        """See `Link.receive`."""
        with self._failures():
            response = self._connection.getresponse()
            body = response.read()
        if response.status != http.client.OK:
            said = last_line(body.decode(errors="replace"))
            raise BridgeError(f"{self.address.url} answered HTTP {response.status}: {said}")
        reply = self.codec.unpack(body)
        if isinstance(reply, str):
            reply = self._inner(reply)
        if isinstance(reply, Mapping):
            if "action" not in reply and "actions" not in reply:
                found = ", ".join(map(str, reply))
                raise BridgeError(f"the server's reply has no action; found: {found}")
            reply = reply.get("actions", reply.get("action"))
        return chunk_of(reply)

    def close(self) -> None:
        """See `Link.close`."""
        self._connection.close()

    def _inner(self, text: str) -> object:
        """What double-encoded JSON holds; such servers report an error as plain text with status 200."""
        try:
            return self.codec.unpack(text.encode())
        except CodecError:
            raise BridgeError(f"the policy server failed: {last_line(text)}") from None

    @contextmanager
    def _failures(self) -> Iterator[None]:
        where = f"the policy server at {self.address.url}"
        try:
            yield
        except TimeoutError:
            raise BridgeError(f"no answer from {where} for {self.address.timeout_s:g} s") from None
        except (OSError, http.client.HTTPException) as error:
            said = getattr(error, "strerror", None) or str(error) or type(error).__name__
            raise BridgeError(
                f"{where} cannot be reached: {said}; start it, or --set url"
            ) from None


class ActHttpPolicy(BridgePolicy):
    """A policy behind HTTP `/act`."""

    link = ActHttpLink
