"""Runs rollouts in this process: one after the other, or some in step with each other."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator

from vla_bench.execution.player import LocalPlanner, Player
from vla_bench.execution.slot import Slot, VideoChoice
from vla_bench.execution.work import WorkQueue
from vla_bench.items import WorkItem
from vla_bench.policies.base import Policy
from vla_bench.records import EpisodeRecord, RunFolder
from vla_bench.settings import Settings
from vla_bench.suites.base import Suite

Stopping = Callable[[], bool]
"""Whether no further item is to be begun."""


def never() -> bool:
    """Stops nothing."""
    return False


class InlineExecutor:
    """Plays items task by task, keeping the environments of the task at hand.

    Args:
        suite: Makes the environments.
        policy: Plays every item.
        settings: How items are played.
        folder: Where videos go.
        video: Which episodes to keep a video of.
        batch: Episodes of one task that are played at a time and planned together.
        stopping: Asked before each item.
    """

    def __init__(
        self,
        suite: Suite,
        policy: Policy,
        settings: Settings,
        folder: RunFolder,
        video: VideoChoice = "none",
        batch: int = 1,
        stopping: Stopping = never,
    ) -> None:
        self.slots = [Slot(suite, policy, settings, folder, video) for _ in range(batch)]
        self.policy = policy
        self.settings = settings
        self.stopping = stopping

    def run(self, items: Iterable[WorkItem]) -> Generator[EpisodeRecord]:
        """Yields one record per item, as soon as it is there."""
        queue = WorkQueue(items, self.policy.card.name, self.settings.horizon)
        player = Player(self.slots, LocalPlanner(self.policy))
        try:
            for task in queue.tasks:
                yield from self._play(task, queue, player)
        finally:
            player.close()

    def _play(self, task: str, queue: WorkQueue, player: Player) -> Iterator[EpisodeRecord]:
        """Plays every episode of a task up to its next plan, plans for all of them, and so on."""
        while True:
            outcomes = []
            while player.has_room and not self.stopping() and (item := queue.take(task)):
                outcomes.append(player.begin(item))
            if player.busy:
                outcomes += player.advance()
            elif not outcomes:
                return
            for outcome in outcomes:
                record = None if outcome is None else queue.settle(outcome)
                if record is not None:
                    yield record
