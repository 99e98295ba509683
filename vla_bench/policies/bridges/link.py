"""One episode's line to a policy server: what every protocol has in common."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from vla_bench.cards import PolicyCard, SuiteCard
from vla_bench.items import WorkItem, digest
from vla_bench.policies.bridges.address import Address
from vla_bench.policies.bridges.errors import BridgeError
from vla_bench.policies.bridges.mapping import Message
from vla_bench.policies.bridges.wire import Wire

LONGEST = 20_000
"""Characters of what a server says of itself that a manifest keeps; of more, only a digest."""


class Link(ABC):
    """One episode's line to a policy server. An error ends it.

    Args:
        card: The policy's card, with its wire.

    Attributes:
        schemes: What the server's url may begin with.
        told: What the server said of itself, as it came; empty for protocols in which it says nothing.
    """

    schemes: ClassVar[tuple[str, ...]] = ("ws", "wss")
    told: Mapping[str, Any]

    def __init__(self, card: PolicyCard) -> None:
        assert card.wire is not None
        self.card = card
        self.wire: Wire = card.wire
        self.address = Address.of(card.options, *self.schemes)
        self.told = {}

    def settled(self, suite: SuiteCard) -> PolicyCard:
        """The card as the server's own description has it; unchanged where it gives none.

        Raises:
            BridgeError: Server and suite do not fit together.
        """
        return self.card

    def begin(self, item: WorkItem) -> None:  # noqa: B027  most protocols know no episodes
        """An episode begins."""

    @abstractmethod
    def send(self, message: Message, extras: Mapping[str, Any]) -> None:
        """Asks for a chunk.

        Args:
            message: The observation in the server's terms.
            extras: What goes along to a server of ours.
        """

    @abstractmethod
    def receive(self) -> NDArray[Any]:
        """Waits for the chunk that was asked for, (T, D) in the server's convention."""

    @abstractmethod
    def close(self) -> None:
        """Ends the connection."""


def chunk_of(actions: object, *, batched: bool = False) -> NDArray[np.float32]:
    """The chunk in a reply, float32 (T, D); a single action is a chunk of one.

    Args:
        actions: What the reply holds.
        batched: Whether the first axis counts the observations of a request, of which there was one.

    Raises:
        BridgeError: That is no chunk.
    """
    try:
        chunk = np.asarray(actions, np.float32)
    except (TypeError, ValueError):
        raise BridgeError(
            f"the server's actions are {type(actions).__name__}, no numbers"
        ) from None
    if batched and chunk.ndim == 3 and len(chunk) == 1:
        chunk = chunk[0]
    if chunk.ndim == 1:
        chunk = chunk[None]
    if chunk.ndim != 2 or 0 in chunk.shape:
        raise BridgeError(f"the server's actions have shape {chunk.shape}, expected (T, D)")
    return chunk


def mapping_of(reply: object) -> Mapping[Any, Any]:
    """A reply that has to be a map.

    Raises:
        BridgeError: It is something else.
    """
    if not isinstance(reply, Mapping):
        raise BridgeError(f"the server's reply is a {type(reply).__name__}, expected a map")
    return reply


def last_line(text: str) -> str:
    """What a traceback ends with."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:500] if lines else "nothing said"


def as_text(told: Mapping[str, Any]) -> str:
    """What a server said of itself, for the manifest: JSON, or its digest if that is long."""
    text = json.dumps(told, sort_keys=True, default=_plain)
    return text if len(text) <= LONGEST else f"sha256:{digest(text, 64)}"


def _plain(value: object) -> object:
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else repr(value)
