"""vla-eval's protocol: a handshake that says what the model needs, episodes, numbered messages."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from numpy.typing import NDArray

from vla_bench.cards import PolicyCard, SuiteCard
from vla_bench.errors import nearest
from vla_bench.items import WorkItem
from vla_bench.policies.bridges.channel import Channel
from vla_bench.policies.bridges.codecs import VlaEvalCodec
from vla_bench.policies.bridges.envelope import (
    ACTION,
    END,
    ERROR,
    HELLO,
    OBSERVATION,
    PROTOCOL_VERSION,
    START,
    Envelope,
    hello,
    seal,
    unseal,
)
from vla_bench.policies.bridges.errors import BridgeError, WrongDialectError
from vla_bench.policies.bridges.link import Link, chunk_of, mapping_of
from vla_bench.policies.bridges.mapping import Message
from vla_bench.policies.bridges.policy import BridgePolicy
from vla_bench.policies.bridges.specs import action_convention, missing, specs_of
from vla_bench.policies.bridges.wire import ImageRow, StateRow


class VlaEvalLink(Link):
    """A connection with one episode, from HELLO to `episode_end`.

    The option `images` says how images travel, `raw` or `png`; both are lossless.

    Raises:
        BridgeError: There is no such server, or it speaks another version of the protocol.
    """

    def __init__(self, card: PolicyCard) -> None:
        super().__init__(card)
        images = str(card.options["images"])
        if images not in ("raw", "png"):
            raise BridgeError(f"--set images={images}: expected raw or png")
        self.codec = VlaEvalCodec("png" if images == "png" else "raw")
        self.channel = Channel(self.address)
        self._number = 0
        self._began = False
        try:
            self._say(HELLO, hello())
            self.told = dict(self._answer(HELLO))
            spoken = self.told.get("protocol_version")
            if spoken != PROTOCOL_VERSION:
                raise BridgeError(
                    f"the server speaks version {spoken!r} of the protocol, expected 1"
                )
        except WrongDialectError as error:
            self.close()
            raise BridgeError(
                f"no vla-eval server at {self.address.url}: {error}; for others there are --policy "
                f"openpi and starvla"
            ) from None
        except BridgeError:
            self.close()
            raise

    def settled(self, suite: SuiteCard) -> PolicyCard:
        """Leaves out what the server does not ask for; takes the convention of its actions.

        Raises:
            BridgeError: It asks for something that the card cannot give.
        """
        parameters = mapping_of(self.told.get("observation_params") or {})
        known = self.wire.parameters | set(self.wire.ignored_parameters)
        for name, value in parameters.items():
            if name not in known and value not in (False, None):
                hint = nearest(str(name), known)
                raise BridgeError(
                    f"the server asks for observations with {name} = {value!r}, which card "
                    f"{self.card.name} has no way to give; {hint}"
                )

        def wanted(row: ImageRow | StateRow) -> bool:
            return all(bool(parameters.get(n.lstrip("!"))) != n.startswith("!") for n in row.when)

        wire = self.wire.model_copy(
            update={
                "images": [row for row in self.wire.images if wanted(row)],
                "state": [row for row in self.wire.state if wanted(row)],
            }
        )
        if gaps := list(missing(specs_of(self.told, "observation_spec"), wire)):
            raise BridgeError(f"the server does not fit: {'; '.join(gaps)}; mend wire on its card")
        convention = action_convention(specs_of(self.told, "action_spec"), self.card.action)
        return self.card.model_copy(update={"wire": wire, "action": convention})

    def begin(self, item: WorkItem) -> None:
        """See `Link.begin`."""
        task = {"name": item.instruction, "suite": item.suite, "task": item.task}
        start: dict[str, Any] = {"task": {**task, "episode_idx": item.index}}
        self._say(START, start)
        self._began = True

    def send(self, message: Message, extras: Mapping[str, Any]) -> None:
        """See `Link.send`."""
        self._say(OBSERVATION, {**message.nested(), **extras})

    def receive(self) -> NDArray[Any]:
        """See `Link.receive`: a chunk where the server sends one, else the single action."""
        payload = self._answer(ACTION)
        if "actions" not in payload:
            found = ", ".join(map(str, payload))
            raise BridgeError(f"the server's reply has no actions; found: {found}")
        return chunk_of(payload["actions"])

    def close(self) -> None:
        """Tells the server that the episode has ended, if it can."""
        if self._began:
            self._began = False
            with suppress(BridgeError):
                self._say(END, {})
        self.channel.close()

    def _say(self, kind: str, payload: Mapping[str, Any]) -> None:
        self._number += 1
        self.channel.send(seal(self.codec, Envelope(kind, payload, self._number)))

    def _answer(self, kind: str) -> Mapping[str, Any]:
        """The payload of the answer to the latest question."""
        frame = self.channel.receive()
        if isinstance(frame, str):
            raise WrongDialectError("it answers in text")
        answer = unseal(self.codec, frame)
        if answer.kind == ERROR:
            raise BridgeError(f"the policy server failed: {answer.payload.get('error')}")
        if answer.kind != kind or answer.number != self._number:
            raise BridgeError(
                f"the server sent {answer.kind} {answer.number}, expected {kind} {self._number}"
            )
        return answer.payload


class VlaEvalPolicy(BridgePolicy):
    """A policy behind vla-eval's protocol."""

    link = VlaEvalLink
