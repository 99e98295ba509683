"""A policy in another program: its server completes the card and makes the plans."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from vla_bench.cards import PolicyCard, SuiteCard
from vla_bench.errors import PlanLost, UserError
from vla_bench.items import WorkItem
from vla_bench.policies.base import ActionChunks, Observation, Policy
from vla_bench.policies.bridges.errors import BridgeError
from vla_bench.policies.bridges.link import Link, as_text
from vla_bench.policies.bridges.mapping import ACTION, INDEX, extras, inputs_of, write
from vla_bench.policies.bridges.offer import Offer
from vla_bench.policies.bridges.transforms import LIBERO_ACTION, change_actions

Outcome = NDArray[np.float32] | BridgeError
"""A chunk, or why there is none."""
REFUSALS = 20
"""After so many failures to connect in a row the run stops, instead of failing every item."""


class BridgePolicy(Policy):
    """Asks a server for plans, over one connection for each episode under way.

    Every failure costs the item its attempt: it is begun again from its start over a new connection, up
    to three times, then recorded as `harness_error`. An episode is never gone on with after a connection
    was lost, whether the server would have noticed or not; and a server's failure is no verdict on its
    policy.

    Args:
        card: The policy's card, completed by `prepare`.
        suite: Card of the suite.

    Attributes:
        link: The protocol.
    """

    link: ClassVar[type[Link]]

    def __init__(self, card: PolicyCard, suite: SuiteCard) -> None:
        super().__init__(card, suite)
        assert card.wire is not None
        self.wire = card.wire
        self.told = str(card.options["server"])
        self.offer = Offer.among(json.loads(self.told)) if self.told.startswith("{") else None
        self.correction_images = self.offer is not None and self.offer.correction_images
        self._links: dict[str, Link] = {}
        self._kept: dict[tuple[str, int], Outcome] = {}
        self._refused = 0

    @classmethod
    def prepare(cls, card: PolicyCard, suite: SuiteCard) -> PolicyCard:
        """Asks the server what it is, and for one chunk, whose length and size are then known.

        Raises:
            UserError: There is no server, or it does not fit the suite.
        """
        if card.wire is None:
            raise UserError(f"{card.path} has no [wire]: policies/openpi.toml shows one")
        if card.resources.replicas:
            raise UserError(f"--replicas: {card.name} is behind a server already; leave it out")
        try:
            link = cls.link(card)
            try:
                return _completed(link, card, suite)
            finally:
                link.close()
        except BridgeError as error:
            raise UserError(f"policy {card.name}: {error}") from None

    @property
    def corrects(self) -> bool:
        """Whether a policy of ours is behind the server, and corrects every action."""
        return self.offer is not None and self.offer.corrects

    def reset(self, item: WorkItem) -> None:
        """Opens a connection: for a server that knows no episodes, one begins with it.

        Raises:
            PlanLost: There is none to be had.
            UserError: It is another server than at the run's start, or has been out of reach too often.
        """
        # Of the last two rounds of plans at most `batch` connections each can be of use still.
        last = 2 * self.batch - 2
        for digest in list(self._links)[: len(self._links) - last]:
            self._drop(digest)
        self._drop(item.digest)
        try:
            link = self.link(self.card)
        except BridgeError as error:
            self._refused += 1
            if self._refused >= REFUSALS:
                raise UserError(f"{error}; then run the same command again to go on") from None
            raise PlanLost(str(error)) from None
        self._refused = 0
        self._links[item.digest] = link
        if as_text(link.told) != self.told:
            raise UserError(
                f"the policy server at {link.address.url} tells other things of itself than at the run's "
                f"start; bring that one back, or give another --out"
            )
        try:
            link.begin(item)
        except BridgeError as error:
            self._drop(item.digest)
            raise PlanLost(str(error)) from None

    def plan(self, observations: Sequence[Observation]) -> ActionChunks:
        """Asks for all plans before it waits for the first.

        Raises:
            PlanLost: A server did not answer as it should. What came for the others is kept for when each
                is asked for alone.
        """
        places = [(o.item.digest, o.step) for o in observations]
        outcomes = [self._kept.pop(p) for p in places] if set(places) <= set(self._kept) else None
        if outcomes is None:
            length, asked = self.card.chunk_length, [self._ask(o) for o in observations]
            answers = zip(observations, asked, strict=True)
            outcomes = [self._answer(o.item.digest, link, length) for o, link in answers]
        for outcome in outcomes:
            if isinstance(outcome, BridgeError):
                self._kept = dict(zip(places, outcomes, strict=True)) if len(places) > 1 else {}
                raise PlanLost(str(outcome))
        return np.stack([o for o in outcomes if not isinstance(o, BridgeError)])

    def correct(
        self, observation: Observation, action: NDArray[np.float32], k: int
    ) -> NDArray[np.float32]:
        """Asks the policy of ours behind the server.

        Raises:
            PlanLost: It did not answer as it should.
        """
        asked = self._ask(observation, {ACTION: action, INDEX: k})
        outcome = self._answer(observation.item.digest, asked, 1)
        if isinstance(outcome, BridgeError):
            raise PlanLost(str(outcome))
        corrected: NDArray[np.float32] = outcome[0]
        return corrected

    def _ask(
        self, observation: Observation, more: Mapping[str, object] | None = None
    ) -> Link | BridgeError:
        """Sends a question over the line of its episode, which comes last of all lines from then on."""
        digest = observation.item.digest
        link = self._links.pop(digest, None)
        if link is None:
            return BridgeError("the connection with the policy server was lost")
        self._links[digest] = link
        try:
            extra = {**extras(observation), **(more or {})} if self.offer else {}
            link.send(write(observation, self.wire), extra)
        except BridgeError as error:
            self._drop(digest)
            return error
        return link

    def _answer(self, digest: str, asked: Link | BridgeError, length: int) -> Outcome:
        if isinstance(asked, BridgeError):
            return asked
        try:
            chunk = _received(asked)
            wanted = (length, self.action_size)
            if chunk.shape != wanted:
                raise BridgeError(
                    f"the policy server returned actions of shape {chunk.shape}, expected {wanted}"
                )
        except BridgeError as error:
            self._drop(digest)
            return error
        return chunk

    def _drop(self, digest: str) -> None:
        if link := self._links.pop(digest, None):
            link.close()


def _received(link: Link) -> NDArray[np.float32]:
    """The chunk that a server answers with, in the suite's convention."""
    chunk = link.receive()
    assert link.card.wire is not None
    transforms = link.card.wire.action_transforms
    if transforms and chunk.shape[1] != LIBERO_ACTION:
        raise BridgeError(
            f"the policy server returned actions of {chunk.shape[1]} entries, the action transforms on "
            f"the card are for {LIBERO_ACTION}"
        )
    return np.asarray(change_actions(chunk, transforms), np.float32)


def _completed(link: Link, card: PolicyCard, suite: SuiteCard) -> PolicyCard:
    """The card with what the server is, and what it takes and returns."""
    card = card.model_copy(update={"options": {**card.options, "server": as_text(link.told)}})
    offer = Offer.among(link.told)
    if offer is not None:
        return offer.adopted(card, suite)
    settled = link.settled(suite)
    assert settled.wire is not None
    inputs = inputs_of(settled.wire, suite)
    card = card.model_copy(
        update={"wire": settled.wire, "action": settled.action, "inputs": inputs}
    )
    if not (set(inputs.images) <= set(suite.cameras) and set(inputs.state) <= set(suite.state)):
        return card  # refused before the first episode, every gap named
    chunk = _probed(link, card, suite)
    length, size = chunk.shape
    action = card.action.model_copy(update={"size": size})
    update = {"chunk_length": length, "horizon": min(card.horizon, length), "action": action}
    return card.model_copy(update=update)


def _probed(link: Link, card: PolicyCard, suite: SuiteCard) -> NDArray[np.float32]:
    """What the server answers to an observation that shows nothing, for the shape of it."""
    task, described = next(iter(suite.tasks.items()))
    item = WorkItem(
        suite=suite.name,
        version=suite.version,
        task=task,
        trial=0,
        index=0,
        seed=0,
        instruction=described.instruction,
        initial_state={},
    )
    cameras = {name: np.zeros((*suite.cameras[name], 3), np.uint8) for name in card.inputs.images}
    state = {name: np.ones(size, np.float32) for name, size in card.inputs.state.items()}
    assert card.wire is not None
    link.begin(item)
    link.send(write(Observation(item, 0, item.instruction, cameras, state), card.wire), {})
    return _received(link)
