"""The experts as a policy: one script per episode, chosen by the suite and the task."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vla_bench.cards import PolicyCard, PolicyInputs, SuiteCard
from vla_bench.items import WorkItem
from vla_bench.policies.base import ActionChunks, Observation, Policy
from vla_bench.policies.expert import libero, micro

Act = Callable[[Observation], NDArray[np.float32]]


@dataclass(frozen=True)
class Scripts:
    """The scripts of one suite."""

    state: dict[str, int]
    """Proprioceptive entries that they read, and their sizes."""
    privileged: dict[str, int]
    """Privileged entries that they read, and their sizes."""
    start: Callable[[WorkItem], Act]
    """Starts the script of an item."""


OTHER_SUITES = {
    "libero": Scripts(libero.STATE, libero.PRIVILEGED, libero.start),
    "micro": Scripts(micro.STATE, micro.PRIVILEGED, micro.start),
}
"""Scripts of suites other than MS-HAB, by the suite's adapter."""


class ExpertPolicy(Policy):
    """Plays scripted experts that see privileged state and act through the action entries only."""

    @classmethod
    def prepare(cls, card: PolicyCard, suite: SuiteCard) -> PolicyCard:
        """The card itself, written for MS-HAB; for another suite with that one's inputs and actions."""
        if suite.weights_of in card.suites and suite.name not in card.suites:
            card = card.model_copy(update={"suites": [suite.name]})
        if suite.adapter not in OTHER_SUITES:
            return card
        scripts = OTHER_SUITES[suite.adapter]
        inputs = PolicyInputs(state=scripts.state, privileged=scripts.privileged)
        changes = {"inputs": inputs, "action": suite.action, "suites": [suite.name]}
        return card.model_copy(update=changes)

    def __init__(self, card: PolicyCard, suite: SuiteCard) -> None:
        super().__init__(card, suite)
        self._start = _starter(suite)
        self._acts: dict[str, Act] = {}

    def reset(self, item: WorkItem) -> None:
        """Starts the script of the item's task."""
        self._acts[item.digest] = self._start(item)

    def plan(self, observations: Sequence[Observation]) -> ActionChunks:
        """One action per observation, float32 (batch, 1, action size)."""
        return np.stack([self._acts[o.item.digest](o)[None] for o in observations])


def _starter(suite: SuiteCard) -> Callable[[WorkItem], Act]:
    if suite.adapter in OTHER_SUITES:
        return OTHER_SUITES[suite.adapter].start
    # Optimisers are slow to import, and the toy suite needs none.
    from vla_bench.policies.expert import set_table

    return set_table.start
