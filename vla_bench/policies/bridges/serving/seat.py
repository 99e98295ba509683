"""The policies behind a server, and one client's seat at one of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from vla_bench.cards import PolicyCard, SuiteCard
from vla_bench.chunks import ChunkPlayer
from vla_bench.items import WorkItem, derive_seed
from vla_bench.planning import PlannedChunk, contract, next_action, plan_chunks
from vla_bench.policies.base import Observation, Policy
from vla_bench.policies.bridges.errors import BridgeError
from vla_bench.policies.bridges.mapping import ACTION, INDEX, ITEM, STEP, read
from vla_bench.policies.bridges.wire import Wire
from vla_bench.registry import make_policy

T = TypeVar("T")
POLL_S = 0.01


class Kitchen:
    """Makes policies, one for each client at a time, and keeps them for the next.

    All their work is done in one thread: torch's number of threads and a GPU's context belong to one.

    Args:
        card: The policy's card, completed.
        suite: Card of the suite.
    """

    def __init__(self, card: PolicyCard, suite: SuiteCard) -> None:
        self.card = card
        self.suite = suite
        self._thread = ThreadPoolExecutor(1)
        self._free: list[Policy] = []
        self._answering = 0

    async def take(self) -> Policy:
        """A policy that no other client has."""
        if self._free:
            return self._free.pop()
        return await self.call(lambda: make_policy(self.card, self.suite))

    def give_back(self, policy: Policy) -> None:
        """Keeps a policy for the next client."""
        self._free.append(policy)

    @contextmanager
    def answering(self) -> Iterator[None]:
        """While a client waits for an answer."""
        self._answering += 1
        try:
            yield
        finally:
            self._answering -= 1

    async def answered(self) -> None:
        """Waits until no client waits for an answer."""
        while self._answering:
            await asyncio.sleep(POLL_S)

    async def call(self, work: Callable[[], T]) -> T:
        """Does a piece of work in the policies' thread."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)


class Seat:
    """One client's episode with its policy. Used in the policies' thread.

    A client of ours says which item and step an observation is of. For others an episode is an item of
    its own, numbered in the order in which the client began them: the same client gets the same actions
    again, whoever else is served.

    Args:
        policy: The policy.
        wire: Where things stand in a client's messages.
    """

    def __init__(self, policy: Policy, wire: Wire) -> None:
        self.policy = policy
        self.wire = wire
        self.item: WorkItem | None = None
        self.episodes = 0
        self.begin()

    def begin(self) -> None:
        """The client begins an episode; the policy is reset with its first observation."""
        self.item, self.step = None, 0
        card = self.policy.card
        self.chunks = ChunkPlayer(card.horizon, card.temporal_ensembling)

    def chunk(self, message: Mapping[Any, Any]) -> NDArray[np.float32]:
        """A whole chunk, or the action that is to be corrected as a chunk of one; float32 (T, D).

        Raises:
            BridgeError: The message lacks something.
            PolicyError: The policy broke its contract.
        """
        if ACTION in message:
            return self._corrected(message)
        observation = self._read(message)
        chunk = self._planned(observation)
        self.step += 1
        return chunk

    def action(self, message: Mapping[Any, Any]) -> NDArray[np.float32]:
        """The next action, (D,): planned, executed and corrected as a run of ours would do it.

        Raises:
            BridgeError: The message lacks something.
            PolicyError: The policy broke its contract.
        """
        observation = self._read(message)
        if self.chunks.due(self.step):
            chunk = self._planned(observation)
            self.chunks.ask(self.step)
            self.chunks.add(chunk)
        action = next_action(self.policy, self.chunks, observation, self.step)
        self.step += 1
        return action

    def _planned(self, observation: Observation) -> NDArray[np.float32]:
        [answer] = plan_chunks(self.policy, [observation])
        if not isinstance(answer, PlannedChunk):
            raise answer
        return answer.chunk

    def _corrected(self, message: Mapping[Any, Any]) -> NDArray[np.float32]:
        action, k = message[ACTION], message.get(INDEX)
        if not isinstance(action, np.ndarray) or type(k) is not int:
            raise BridgeError(
                f"{ACTION} and {INDEX}: expected an action and its index in the chunk"
            )
        observation = self._read(message, images=self.policy.correction_images)
        with contract():
            corrected = self.policy.correct(observation, action, k)
        return np.asarray(corrected, np.float32)[None]

    def _read(self, message: Mapping[Any, Any], images: bool = True) -> Observation:
        """The observation in a message; its episode begins if it is the first of it."""
        item = self._item(message)
        step = message.get(STEP, self.step)
        if type(step) is not int:
            raise BridgeError(f"{STEP} is {type(step).__name__}, expected an integer")
        inputs, suite = self.policy.card.inputs, self.policy.suite
        observation = read(message, self.wire, inputs, suite, item, step, images=images)
        if self.item is None or self.item.digest != item.digest:
            self.item = item
            with contract():
                self.policy.reset(item)
        return observation

    def _item(self, message: Mapping[Any, Any]) -> WorkItem:
        if ITEM in message:
            try:
                return WorkItem.model_validate_json(str(message[ITEM]))
            except ValidationError:
                raise BridgeError(f"{ITEM} is no work item") from None
        if self.item is None:
            self.episodes += 1
            return _stranger(self.policy.suite, self.episodes)
        return self.item


def _stranger(suite: SuiteCard, number: int) -> WorkItem:
    """Stands for an episode of a client that knows no items."""
    return WorkItem(
        suite=suite.name,
        version=suite.version,
        task="served",
        trial=0,
        index=number - 1,
        seed=derive_seed("served", suite.name, number),
        instruction="",
        initial_state={},
    )
