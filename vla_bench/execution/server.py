"""A policy server: one process that plans for the episodes of all workers, many in one forward pass."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from vla_bench.errors import PlanLost, PolicyError
from vla_bench.execution.crash import Seat
from vla_bench.execution.node import enter, same_versions
from vla_bench.items import WorkItem
from vla_bench.planning import Answer, contract, plan_chunks
from vla_bench.policies.base import Observation, Policy
from vla_bench.records import RunManifest
from vla_bench.registry import make_policy

T = TypeVar("T")
SMOOTHING = 0.1
"""Weight of the newest measurement in a running mean."""


@dataclass(frozen=True)
class Traits:
    """What a worker has to know of a policy that is elsewhere."""

    corrects: bool
    correction_images: bool
    seat: Seat
    """The process; another one after the server was started anew."""


@dataclass(frozen=True)
class Rates:
    """How a server is getting on."""

    queries: int
    """Plans made since it started."""
    forward_s: float
    """Running mean of the time of a forward pass (s)."""
    filled: float
    """Running mean of the queries answered by one."""


@dataclass(eq=False)
class _Query:
    observation: Observation
    answer: asyncio.Future[Answer]


class PolicyServer:
    """Gathers queries into forward passes of at most the run's batch size.

    A pass is of one instruction: another's length would change how sums are rounded. It starts when it is
    full, or when every episode under way has asked, or when the oldest query has waited as long as a pass
    takes: waiting longer would cost more than a fuller pass can save.

    Args:
        manifest: What the run is a run of.
        working_directory: Where the run was started.
        episodes: Episodes that play at a time with this server.
    """

    def __init__(self, manifest: RunManifest, working_directory: str, episodes: int) -> None:
        self.manifest = manifest
        self.working_directory = working_directory
        self.episodes = episodes
        self.rates = Rates(0, 0.0, 0.0)
        self._begun: set[str] = set()
        self._queries: list[_Query] = []
        self._arrived = asyncio.Event()
        # Torch's number of threads and a GPU's context belong to a thread.
        self._thread = ThreadPoolExecutor(1)
        self._policy: asyncio.Future[Policy] | None = None

    async def prepare(self) -> Traits:
        """Makes the policy, once."""
        policy = await self._made()
        return Traits(policy.corrects, policy.correction_images, Seat.here())

    async def plan(self, observation: Observation) -> Answer:
        """Plans one chunk, together with whoever else is asking."""
        await self._made()
        query = _Query(observation, asyncio.get_running_loop().create_future())
        self._queries.append(query)
        self._arrived.set()
        return await query.answer

    async def correct(
        self, observation: Observation, action: NDArray[np.float32], k: int
    ) -> NDArray[np.float32]:
        """Corrects one action; see `Policy.correct`."""
        policy = await self._made()

        def correct() -> NDArray[np.float32]:
            self._know(observation.item)
            with contract():
                return policy.correct(observation, action, k)

        return await self._in_thread(correct)

    async def measured(self) -> Rates:
        """How it is getting on."""
        return self.rates

    async def _made(self) -> Policy:
        if self._policy is None:
            self._policy = asyncio.ensure_future(self._in_thread(self._make))
            # Held, for the event loop itself keeps only a weak reference.
            self._serving = asyncio.ensure_future(self._serve())
        return await asyncio.shield(self._policy)

    def _make(self) -> Policy:
        enter(self.working_directory)
        same_versions(self.manifest)
        return make_policy(self.manifest.policy, self.manifest.suite, self.manifest.batch)

    async def _in_thread(self, call: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, call)

    async def _serve(self) -> None:
        while True:
            await self._gathered()
            batch = self._company()
            self._queries = [query for query in self._queries if query not in batch]
            batch.sort(key=lambda q: q.observation.item.order)
            start = time.perf_counter()
            try:
                answers = await self._in_thread(partial(self._answers, batch))
            except Exception as error:
                for query in batch:
                    query.answer.set_exception(error)
                continue
            for query, answer in zip(batch, answers, strict=True):
                query.answer.set_result(answer)
            self._note(len(batch), time.perf_counter() - start)

    async def _gathered(self) -> None:
        """Waits for a query, then for company."""
        while not self._queries:
            self._arrived.clear()
            await self._arrived.wait()
        until = time.perf_counter() + self.rates.forward_s
        while not self._enough() and (left := until - time.perf_counter()) > 0:
            self._arrived.clear()
            try:
                await asyncio.wait_for(self._arrived.wait(), left)
            except TimeoutError:
                return

    def _enough(self) -> bool:
        full = len(self._company()) == self.manifest.batch
        return full or len(self._queries) == self.episodes

    def _company(self) -> list[_Query]:
        """The oldest query, and those that can share its pass."""
        instruction = self._queries[0].observation.instruction
        same = [q for q in self._queries if q.observation.instruction == instruction]
        return same[: self.manifest.batch]

    def _answers(self, batch: Sequence[_Query]) -> list[Answer]:
        """Plans in one call for all that can be planned for."""
        answers: dict[str, Answer] = {}
        due = []
        assert self._policy is not None
        policy = self._policy.result()
        for query in batch:
            item = query.observation.item
            try:
                if query.observation.step == 0:
                    self._begin(policy, item)
                self._know(item)
                due.append(query.observation)
            except (PolicyError, PlanLost) as error:
                answers[item.digest] = error
        if due:
            planned = plan_chunks(policy, due)
            answers |= {o.item.digest: a for o, a in zip(due, planned, strict=True)}
        return [answers[query.observation.item.digest] for query in batch]

    def _begin(self, policy: Policy, item: WorkItem) -> None:
        with contract():
            policy.reset(item)
        self._begun.add(item.digest)

    def _know(self, item: WorkItem) -> None:
        if item.digest not in self._begun:
            raise PlanLost("the policy server was started anew in the middle of the episode")

    def _note(self, queries: int, seconds: float) -> None:
        old = self.rates
        weight = SMOOTHING if old.queries else 1.0
        self.rates = Rates(
            old.queries + queries,
            old.forward_s + weight * (seconds - old.forward_s),
            old.filled + weight * (queries - old.filled),
        )
