"""A worker's side of a policy server."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import ray
from numpy.typing import NDArray
from ray import ObjectRef
from ray.actor import ActorHandle
from ray.exceptions import RayActorError, RayError, RayTaskError

from vla_bench.clock import Clock
from vla_bench.errors import PlanLost
from vla_bench.execution.crash import Seat
from vla_bench.execution.server import PolicyServer, Traits
from vla_bench.planning import Answer
from vla_bench.policies.base import ActionChunks, Observation, Policy
from vla_bench.records import RunManifest

T = TypeVar("T")
PATIENCE_S = 0.2
"""A worker that waits for its server shows this often that it is alive: well within any timeout."""
START_S = 600.0
"""Longest time for a server to be started anew: its node may have to be found, its weights loaded."""
RESTART_S = 5.0
"""Longest time for a server to say that it is another one than the one that hung."""


class Line:
    """The connection of one worker with its policy server.

    Args:
        server: The server.
        timeout_s: Longest time to wait for an answer (s).
    """

    def __init__(self, server: ActorHandle[PolicyServer], timeout_s: float) -> None:
        self.server = server
        self.timeout_s = timeout_s
        self.broken = False
        self._seat: Seat | None = None

    def reach(self) -> Traits:
        """Waits for a server that is being started, perhaps anew.

        Raises:
            PlanLost: It does not come up.
        """
        until = time.monotonic() + START_S
        while True:
            try:
                asked: ObjectRef[Traits] = self.server.prepare.remote()
                traits = self.result(asked, until)
            except PlanLost:
                if time.monotonic() > until:
                    raise
                Clock.beat()
                time.sleep(PATIENCE_S / 2)
            else:
                self.broken, self._seat = False, traits.seat
                return traits

    def _restart(self) -> None:
        """Ends a server that hangs, unless it has been started anew since; Ray starts another."""
        self.broken = True
        asked: ObjectRef[Traits] = self.server.prepare.remote()
        ready, _ = ray.wait([asked], timeout=RESTART_S)
        with suppress(RayError):
            if not ready or ray.get(asked).seat == self._seat:
                ray.kill(self.server, no_restart=False)

    def result(self, answer: ObjectRef[T], until: float | None = None) -> T:
        """Waits for an answer and takes it.

        Raises:
            PlanLost: The server died, or is late.
            Exception: What the server raised.
        """
        until = time.monotonic() + self.timeout_s if until is None else until
        while not ray.wait([answer], timeout=PATIENCE_S)[0]:
            Clock.beat()
            if time.monotonic() > until:
                self._restart()
                raise PlanLost(f"no answer from the policy server for {self.timeout_s:g} s")
        try:
            return ray.get(answer)
        except RayTaskError as error:
            raise error.cause from None
        except RayActorError:
            self.broken = True
            raise PlanLost("the policy server died") from None


class ServedPolicy(Policy):
    """A policy that lives in a server: plans come through `ServerPlanner`, corrections one by one.

    Args:
        manifest: What the run is a run of.
        line: The connection with the server.
    """

    def __init__(self, manifest: RunManifest, line: Line) -> None:
        super().__init__(manifest.policy, manifest.suite)
        self.line = line
        traits = line.reach()
        self.correction_images = traits.correction_images
        self._corrects = traits.corrects

    @property
    def corrects(self) -> bool:
        """Whether the policy corrects per step."""
        return self._corrects

    def plan(self, observations: Sequence[Observation]) -> ActionChunks:
        """Not here: `ServerPlanner` asks for plans without waiting for each."""
        raise NotImplementedError

    def correct(
        self, observation: Observation, action: NDArray[np.float32], k: int
    ) -> NDArray[np.float32]:
        """Asks the server; see `Policy.correct`."""
        corrected: ObjectRef[NDArray[np.float32]]
        corrected = self.line.server.correct.remote(observation, action, k)
        return self.line.result(corrected)


@dataclass(frozen=True)
class _Asked:
    observation: Observation
    answer: ObjectRef[Answer]
    until: float


class ServerPlanner:
    """Asks a server for plans, and lets other episodes go on until they come."""

    def __init__(self, line: Line) -> None:
        self.line = line
        self._asked: dict[str, _Asked] = {}

    def answers(self, due: Sequence[Observation]) -> Sequence[tuple[Observation, Answer]]:
        """Waits for one answer and returns all that are there."""
        try:
            for observation in due:
                if observation.item.digest not in self._asked:
                    self._ask(observation)
        except PlanLost as lost:
            return [(observation, lost)]
        return [(asked.observation, self._take(asked)) for asked in self._ready()]

    def _ask(self, observation: Observation) -> None:
        if self.line.broken:
            self.line.reach()
        answer: ObjectRef[Answer] = self.line.server.plan.remote(observation)
        until = time.monotonic() + self.line.timeout_s
        self._asked[observation.item.digest] = _Asked(observation, answer, until)

    def _ready(self) -> list[_Asked]:
        """Those that are answered, or that no answer is expected for any more."""
        while True:
            waiting = {asked.answer: asked for asked in self._asked.values()}
            answered, _ = ray.wait(list(waiting), timeout=PATIENCE_S)
            if answered:
                answered, _ = ray.wait(list(waiting), num_returns=len(waiting), timeout=0)
                return [waiting[answer] for answer in answered]
            Clock.beat()
            late = [a for a in waiting.values() if time.monotonic() > a.until]
            if late:
                return late

    def _take(self, asked: _Asked) -> Answer:
        del self._asked[asked.observation.item.digest]
        try:
            answer: Answer = self.line.result(asked.answer, asked.until)
        except PlanLost as lost:
            return lost
        return answer
