"""The items that are still to be played: who takes which, and what happens to those that fail."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from vla_bench.items import WorkItem
from vla_bench.records import EpisodeRecord

ATTEMPTS = 4
"""An item that the harness failed to play is tried three times more, then recorded as `harness_error`."""


@dataclass(frozen=True)
class Failure:
    """An attempt at an item that gave no record."""

    item: WorkItem
    cause: str
    """One line."""

    @property
    def digest(self) -> str:
        """Digest of the item."""
        return self.item.digest


Outcome = EpisodeRecord | Failure
"""What came of an attempt at an item."""


class WorkQueue:
    """Hands out items so that environments, which belong to a task, are kept.

    Args:
        items: The items.
        policy: Name of the policy, for the records of items that could not be played.
        horizon: Execution horizon, likewise.
    """

    def __init__(self, items: Iterable[WorkItem], policy: str, horizon: int) -> None:
        self.policy = policy
        self.horizon = horizon
        self._left: dict[str, deque[WorkItem]] = {}
        self._failures: Counter[str] = Counter()
        self._failed_by: dict[str, object] = {}
        for item in items:
            self._left.setdefault(item.task, deque()).append(item)

    @property
    def tasks(self) -> list[str]:
        """The tasks of the items, in order of first appearance."""
        return list(self._left)

    def __len__(self) -> int:
        """Items that nobody has taken."""
        return sum(map(len, self._left.values()))

    def left(self, task: str | None) -> bool:
        """Whether nobody has taken some item of a task."""
        return bool(self._left.get(task or ""))

    def choose_task(self, others: Collection[str | None] = ()) -> str | None:
        """The task with most items left for each worker on it; None if nothing is left.

        Args:
            others: The tasks that the other workers are at.
        """
        at = Counter(others)
        share = {task: len(left) / (1 + at[task]) for task, left in self._left.items() if left}
        return max(share, key=share.__getitem__, default=None)

    def take(
        self, task: str | None, worker: object = None, *, alone: bool = True
    ) -> WorkItem | None:
        """The next item of a task, if possible not one that the same worker failed before.

        Args:
            task: The task.
            worker: Who takes it.
            alone: Whether the worker plays nothing else. An item that failed before is played alone:
                if it takes its worker down, it must not cost its neighbours an attempt.
        """
        left = self._left.get(task or "", deque())
        fitting = [i for i in left if alone or not self.suspect(i)] if self._failures else left
        other = (i for i in fitting if worker is None or self._failed_by.get(i.digest) != worker)
        item = next(other, next(iter(fitting), None))
        if item is not None:
            left.remove(item)
        return item

    def suspect(self, item: WorkItem) -> bool:
        """Whether an attempt at an item has failed before."""
        return item.digest in self._failures

    def settle(self, outcome: Outcome, worker: object = None) -> EpisodeRecord | None:
        """Takes what came of an attempt; returns the item's record, None if it is to be tried again."""
        if isinstance(outcome, EpisodeRecord):
            return outcome
        item = outcome.item
        self._failures[item.digest] += 1
        if self._failures[item.digest] >= ATTEMPTS:
            return EpisodeRecord.failed(item, self.policy, self.horizon, outcome.cause)
        self._failed_by[item.digest] = worker
        self._left[item.task].append(item)
        return None
