"""Plays some episodes at a time in one process: while one waits for its plan, another goes on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from vla_bench.execution.slot import Slot
from vla_bench.execution.work import Outcome
from vla_bench.items import WorkItem
from vla_bench.planning import Answer, plan_chunks
from vla_bench.policies.base import Observation, Policy


class Planner(Protocol):
    """Where a player gets its plans from."""

    def answers(self, due: Sequence[Observation]) -> Sequence[tuple[Observation, Answer]]:
        """Answers at least one of the observations that a plan is due for, others later.

        Args:
            due: At least one observation, those that were given before and not answered included.
        """
        ...


class LocalPlanner:
    """A policy in this process: plans for all episodes that wait in one call, in the order of items."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy

    def answers(self, due: Sequence[Observation]) -> Sequence[tuple[Observation, Answer]]:
        """Answers all of them."""
        due = sorted(due, key=lambda o: o.item.order)
        return list(zip(due, plan_chunks(self.policy, due), strict=True))


class Player:
    """Plays up to as many episodes at a time as there are slots.

    Args:
        slots: Where episodes are played.
        planner: Plans for them.
    """

    def __init__(self, slots: Sequence[Slot], planner: Planner) -> None:
        self.slots = slots
        self.planner = planner

    @property
    def busy(self) -> bool:
        """Whether an episode is under way."""
        return any(slot.observation is not None for slot in self.slots)

    @property
    def has_room(self) -> bool:
        """Whether another item can be begun."""
        return any(slot.observation is None for slot in self.slots)

    def begin(self, item: WorkItem) -> Outcome | None:
        """Begins an item in a free slot; returns what came of it if it ended without a plan."""
        return next(slot for slot in self.slots if slot.observation is None).begin(item)

    def advance(self) -> list[Outcome]:
        """Plays on every episode that gets its plan; returns what came of those that ended."""
        waiting = [(slot.observation, slot) for slot in self.slots if slot.observation is not None]
        slot_of = {observation.item.digest: slot for observation, slot in waiting}
        answers = self.planner.answers([observation for observation, _ in waiting])
        outcomes = (slot_of[o.item.digest].go_on(answer) for o, answer in answers)
        return [outcome for outcome in outcomes if outcome is not None]

    def close(self) -> None:
        """Breaks off what is under way and frees the environments."""
        for slot in self.slots:
            slot.close()
