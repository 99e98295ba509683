"""Runs rollouts one after the other in this process."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Literal

from vla_bench.errors import UserError
from vla_bench.items import WorkItem
from vla_bench.policies.base import Policy
from vla_bench.records import EpisodeRecord, RunFolder
from vla_bench.rollout import Settings, play
from vla_bench.suites.base import Suite, SuiteEnv
from vla_bench.video import VideoWriter

ATTEMPTS = 3
VideoChoice = Literal["failures", "all", "none"]


class InlineExecutor:
    """Plays items in the order given, keeping one environment for the task at hand.

    Args:
        suite: Makes the environments.
        policy: Plays every item.
        settings: How items are played.
        folder: Where videos go.
        video: Which episodes to keep a video of.
    """

    def __init__(
        self,
        suite: Suite,
        policy: Policy,
        settings: Settings,
        folder: RunFolder,
        video: VideoChoice = "none",
    ) -> None:
        self.suite = suite
        self.policy = policy
        self.settings = settings
        self.folder = folder
        self.video = video
        self._env: tuple[str, SuiteEnv] | None = None

    def run(self, items: Iterable[WorkItem]) -> Iterator[EpisodeRecord]:
        """Yields one record per item, as soon as it is there."""
        try:
            for item in items:
                yield self._attempt(item)
        finally:
            self._drop_env()

    def _attempt(self, item: WorkItem) -> EpisodeRecord:
        """An item that the simulator fails three times is recorded as `harness_error`."""
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return self._play(item)
            except UserError:
                raise
            except Exception as error:
                self._drop_env()
                cause = f"{type(error).__name__}: {error}"
                if attempt == ATTEMPTS:
                    horizon = self.settings.horizon
                    return EpisodeRecord.failed(item, self.policy.card.name, horizon, cause)
        raise AssertionError("unreachable")

    def _play(self, item: WorkItem) -> EpisodeRecord:
        env = self._environment(item.task)
        if self.video == "none":
            return play(env, self.policy, item, self.settings)
        with VideoWriter(self.folder.video(item), self.suite.card.control_hz) as writer:
            record = play(env, self.policy, item, self.settings, writer.capture)
            if self.video == "failures" and record.success:
                writer.discard()
        return record

    def _environment(self, task: str) -> SuiteEnv:
        if self._env is None or self._env[0] != task:
            self._drop_env()
            render_mode = None if self.video == "none" else "rgb_array"
            cameras = self.settings.inputs.images
            self._env = (task, self.suite.make_env(task, cameras, render_mode))
        return self._env[1]

    def _drop_env(self) -> None:
        if self._env is not None:
            self._env[1].close()
            self._env = None
